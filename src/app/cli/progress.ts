/** How far a run is: in words, and as the bar of a transfer, which is on a terminal only, on stderr. */
import { formatBytes } from '../../model/text.ts';
import type { Retrying, TransferProgress } from '../../pipeline/contract.ts';

const WIDTH = 30;

interface Seen extends TransferProgress {
  /** Unix time in milliseconds. */
  readonly at: number;
}

export class ProgressBar {
  /** Of the file that is written: what an earlier attempt wrote before it counts for no rate. */
  #first: Seen | null = null;
  #last: Seen | null = null;

  draw(progress: TransferProgress): void {
    const now: Seen = { ...progress, at: Date.now() };
    if (this.#first === null || this.#last === null || isOther(this.#last, now)) this.#first = now;
    this.#last = now;
    process.stderr.write(`\r\x1b[2K${lineOf(this.#first, now)}`);
  }

  stop(): void {
    if (this.#last !== null) process.stderr.write('\r\x1b[2K');
  }
}

/** The next shard, or an attempt that has to write again what was there. */
function isOther(before: TransferProgress, now: TransferProgress): boolean {
  return now.offset < before.offset || now.size !== before.size;
}

function lineOf(first: Seen, { offset, size, at }: Seen): string {
  const bar = '█'.repeat(Math.round(shareOf({ offset, size }) * WIDTH)).padEnd(WIDTH, '░');
  const done = `${bar} ${transferText({ offset, size })}`;
  const rate = (offset - first.offset) / Math.max(0.001, (at - first.at) / 1000);
  return rate === 0 ? done : `${done}  ${formatBytes(rate)}/s  ${Math.ceil((size - offset) / rate)} s left`;
}

/** `35%  1.2 GiB of 3.4 GiB` */
export function transferText(progress: TransferProgress): string {
  return `${Math.floor(shareOf(progress) * 100)}%  ${formatBytes(progress.offset)} of ${formatBytes(progress.size)}`;
}

function shareOf({ offset, size }: TransferProgress): number {
  return size === 0 ? 1 : offset / size;
}

export function retryingText({ activity, attempt, error, paused }: Retrying): string {
  if (paused !== undefined) {
    const by = paused.by === null ? '' : ` by ${paused.by}`;
    const reason = paused.reason === null ? '' : ` (${paused.reason.replaceAll(/\s+/g, ' ')})`;
    return `${activity} was paused${by}${reason} before attempt ${attempt}: \`temporal activity unpause\` lets it go on`;
  }
  return `retrying ${activity} (attempt ${attempt}): ${error.replaceAll(/\s+/g, ' ')}`;
}
