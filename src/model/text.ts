/** Numbers for people: sizes and counts. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes in steps of 1024, three significant digits: `646 MiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // As it is shown: what is rounded to 1024 of a unit is one of the next.
  while (Math.round(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** `lightning in zip`; a format with a container of its own goes by its name alone. */
export function formatText({ format, container }: { readonly format: string; readonly container: string }): string {
  return format === container ? format : `${format} in ${container}`;
}

/** A size as people write it: `512MiB`, `5GB`, `1048576`. */
export const SIZE = /^(\d+(?:\.\d+)?)\s*([KMGT]?i?B)?$/i;

/** Bytes of a size that fits `SIZE`: kB, MB … in steps of 1000, KiB, MiB … of 1024. */
export function parseBytes(size: string): number {
  const [, count, unit = ''] = SIZE.exec(size) ?? [];
  const power = ['', 'K', 'M', 'G', 'T'].indexOf(unit.toUpperCase().replace(/I?B$/, ''));
  return Math.floor(Number(count) * (/i/i.test(unit) ? 1024 : 1000) ** power);
}

/** `1 tensor`, `194 tensors`. */
export function formatCount(count: number, noun: string): string {
  return `${formatNumber(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** `100,000`. By hand: the first use of the locale's own takes 10 ms. */
export function formatNumber(count: number): string {
  return String(count).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

/** A sentence: with a full stop, unless it has an end of its own. */
export function ended(text: string): string {
  return /[.?!]$/.test(text) ? text : `${text}.`;
}

/**
 * C0 and C1 but for tab and line feed, other ends of lines, marks of annotations, and all that Unicode lets be shown as nothing: what changes the
 * direction of writing, joins or parts words, chooses a form of the character before it (as in some emoji), tags. Of a regular expression
 * with `u`.
 */
export const CONTROLS = String.raw`[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\ufff9-\ufffb\p{Default_Ignorable_Code_Point}]`;
const CONTROL = new RegExp(CONTROLS, 'gu');

/**
 * Text of others with such characters as they are written in source code: none moves a cursor, sets a title or turns the direction of writing,
 * and no two texts look alike because of them.
 */
export function escapeControls(text: string): string {
  return text.replace(CONTROL, escapedControl);
}

export function escapedControl(character: string): string {
  const code = character.codePointAt(0)!;
  if (code > 0xffff) return `\\u{${code.toString(16)}}`;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
}

/** Text from a file or a user, for Markdown: names with marks of emphasis, links, HTML, formulas or controls in them show as they are. */
export function escapeMarkdown(text: string): string {
  return escapeControls(text).replaceAll(/[\\`*[\]<>|~$]|(?<![a-z0-9])_|_(?![a-z0-9])/gi, String.raw`\$&`);
}

/** As much of a text as fits into so many bytes of UTF-8, from its start or its end; never half a character. */
export function within(text: string, bytes: number, side: 'start' | 'end' = 'start'): string {
  // Half a pair of surrogates is not a character, and would be another one on the way.
  const points = Array.from(text, (point) => (/^[\ud800-\udfff]$/.test(point) ? '\ufffd' : point));
  if (side === 'end') points.reverse();
  let room = bytes;
  const end = points.findIndex((point) => (room -= new TextEncoder().encode(point).length) < 0);
  const kept = end < 0 ? points : points.slice(0, end);
  return (side === 'end' ? kept.reverse() : kept).join('');
}
