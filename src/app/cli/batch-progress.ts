/** How a batch gets on, while a command waits for it: a bar on a terminal, elsewhere a line now and then; always on stderr. */
import type { BatchProgress, BatchResult } from '../../pipeline/batch.ts';
import { retryingText } from './progress.ts';

/** Milliseconds between looks on a terminal. */
const LOOK = 1000;
/** Milliseconds before the first line elsewhere; each wait is twice the one before, up to the longest. */
const FIRST_LINE = 10_000;
const LONGEST = 300_000;
const WIDTH = 30;

/** Gives what ends it. */
export function showProgress(look: () => Promise<BatchProgress>): () => void {
  const terminal = process.stderr.isTTY === true;
  let wait = terminal ? LOOK : FIRST_LINE;
  let drawn = false;
  let ended = false;
  let timer: NodeJS.Timeout;
  const wipe = (): void => void (drawn && process.stderr.write('\r\x1b[2K'));
  const again = (): void => {
    timer = setTimeout(() => {
      // A server that does not answer now may do so next time.
      void look()
        .then((now) => {
          if (ended) return;
          wipe();
          process.stderr.write(
            terminal ? progressBar(now, process.stderr.columns || 80) : `${[progressLine(now), ...heldUp(now)].join('\n  ')}\n`,
          );
          drawn = terminal;
        })
        .catch(() => undefined)
        .finally(() => void (ended || again()));
    }, wait);
    timer.unref();
    wait = terminal ? LOOK : Math.min(LONGEST, wait * 2);
  };
  again();
  return () => {
    ended = true;
    clearTimeout(timer);
    wipe();
  };
}

export function progressLine(now: BatchResult): string {
  const { total, completed, unchanged, failed, cancelled, status } = now;
  if (status === 'listing') return 'Listing the items …';
  const done = completed + unchanged + failed + cancelled;
  const parts = [
    `${completed} published`,
    `${unchanged} unchanged`,
    `${failed} failed`,
    ...(cancelled === 0 ? [] : [`${cancelled} cancelled`]),
    ...paceOf(now),
  ];
  return `${done} of ${total} items${status === 'paused' || status === 'stopping' ? ` (${status})` : ''}: ${parts.join(', ')}`;
}

/** What holds a batch up, or waits for somebody, each in a line. */
export function heldUp({ retrying, waiting }: Partial<Pick<BatchProgress, 'retrying' | 'waiting'>>): readonly string[] {
  return [
    ...(retrying == null ? [] : [retryingText(retrying)]),
    ...(waiting == null || waiting.count === 0
      ? []
      : [
          `${waiting.count} ${waiting.count === 1 ? 'waits' : 'wait'} for an answer: ckpt resolve ${waiting.ids[0] ?? 'RUN'}${waiting.count === 1 ? '' : ' …'}`,
        ]),
  ];
}

function progressBar(now: BatchProgress, columns: number): string {
  const { total, completed, unchanged, failed, cancelled, status } = now;
  const most = Math.max(20, columns - 1);
  if (status === 'listing') return ['Listing the items …', ...heldUp(now)].join('  ').slice(0, most);
  const done = completed + unchanged + failed + cancelled;
  const share = total === 0 ? 1 : done / total;
  const bar = '█'.repeat(Math.round(share * WIDTH)).padEnd(WIDTH, '░');
  const parts = [
    `${done}/${total}`,
    ...(status === 'running' ? [] : [status]),
    ...paceOf(now),
    ...(failed === 0 ? [] : [`${failed} failed`]),
    ...(cancelled === 0 ? [] : [`${cancelled} cancelled`]),
    ...heldUp(now),
  ];
  return `${bar} ${Math.floor(share * 100)}%  ${parts.join('  ')}`.slice(0, most);
}

function paceOf({ rate, seconds_left: left, status }: BatchResult): readonly string[] {
  if (rate === null || status === 'paused') return [];
  return [`${rate} items/s`, ...(status === 'running' && left !== null ? [`${durationText(left)} left`] : [])];
}

function durationText(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
