/** Times, shares and counts for people. */

export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${Number(seconds.toFixed(seconds < 10 ? 1 : 0))} s`;
  const whole = Math.round(seconds);
  return whole < 3600 ? pair(whole, 60, 'min', 's') : pair(Math.round(whole / 60), 60, 'h', 'min');
}

function pair(count: number, unit: number, large: string, small: string): string {
  const rest = count % unit;
  return `${Math.floor(count / unit)} ${large}${rest === 0 ? '' : ` ${rest} ${small}`}`;
}

/** Between two ISO 8601 times; null where one is missing. */
export function between(from: string | null, to: string | null): number | null {
  return from === null || to === null ? null : Math.max(0, Date.parse(to) - Date.parse(from));
}

/** In universal time: a report is read anywhere. */
export function formatTime(iso: string | null): string {
  return iso === null ? '–' : iso.replace('T', ' ').replace(/\.\d+Z$|Z$/, ' UTC');
}

export function formatShare(part: number, whole: number): string {
  if (whole === 0) return '–';
  const percent = (part / whole) * 100;
  return percent > 0 && percent < 0.1 ? '< 0.1 %' : `${Number(percent.toFixed(1))} %`;
}

export function grouped(count: number): string {
  return count.toLocaleString('en-US');
}

/** `1 tensor`, `1,024 tensors`. */
export function counted(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;
}
