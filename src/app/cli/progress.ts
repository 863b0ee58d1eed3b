/** The progress bar of a transfer: on a terminal only, on stderr. */
import type { TransferProgress } from '../../pipeline/contract.ts';
import { formatBytes } from '../../pipeline/text.ts';

const INTERVAL = 500;
const WIDTH = 30;

export class ProgressBar {
  readonly #timer: NodeJS.Timeout | null;
  readonly #began = Date.now();
  #drawn = false;

  constructor(progress: () => Promise<TransferProgress | null>) {
    if (process.stderr.isTTY !== true) {
      this.#timer = null;
      return;
    }
    let busy = false;
    this.#timer = setInterval(() => {
      if (busy) return;
      busy = true;
      void progress()
        .then((at) => at !== null && this.#draw(at))
        .catch(() => undefined)
        .finally(() => (busy = false));
    }, INTERVAL);
  }

  #draw({ offset, size }: TransferProgress): void {
    const share = size === 0 ? 1 : offset / size;
    const rate = offset / Math.max(0.001, (Date.now() - this.#began) / 1000);
    const left = rate > 0 ? `${Math.ceil((size - offset) / rate)} s left` : '';
    const bar = '█'.repeat(Math.round(share * WIDTH)).padEnd(WIDTH, '░');
    process.stderr.write(
      `\r\x1b[2K${bar} ${Math.floor(share * 100)}%  ${formatBytes(offset)} of ${formatBytes(size)}  ${formatBytes(rate)}/s  ${left}`,
    );
    this.#drawn = true;
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#drawn) process.stderr.write('\r\x1b[2K');
  }
}
