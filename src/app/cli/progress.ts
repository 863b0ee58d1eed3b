/** The progress bar of a transfer: on a terminal only, on stderr. */
import type { TransferProgress } from '../../pipeline/contract.ts';
import { formatBytes } from '../../pipeline/text.ts';

const WIDTH = 30;

export class ProgressBar {
  readonly #began = Date.now();
  #drawn = false;

  draw({ offset, size }: TransferProgress): void {
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
    if (this.#drawn) process.stderr.write('\r\x1b[2K');
  }
}
