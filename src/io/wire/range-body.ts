/** The body of an answer, read once, into memory that its reader names. */
import { Writable, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { StoreFault } from '../store-fault.ts';
import type { Scatter } from './scatter.ts';

/** Code of the fault of a body that goes on behind what was asked for. */
export const TOO_LONG = 'BodyTooLong';

export interface RangeBody {
  /**
   * Fills `target`, and tells how many bytes came each time. Resolves at the end of the body, which may come before that of `target`;
   * a body that goes on behind it is a fault.
   */
  into(target: Scatter, onBytes: (count: number) => void): Promise<void>;
  /** Nothing more of it is wanted; when this returns, nothing is written to the target any more. */
  destroy(): void;
}

export function streamBody(stream: Readable): RangeBody {
  return {
    async into(target, onBytes) {
      const most = target.left;
      // Not by `for await`: it makes several promises of each of the thousands of chunks.
      await pipeline(
        stream,
        new Writable({
          write(chunk: Uint8Array, _, next) {
            if (chunk.length > target.left) return next(tooLong(most));
            target.take(chunk);
            onBytes(chunk.length);
            next();
          },
        }),
      );
    },
    destroy: () => void stream.destroy(),
  };
}

export function tooLong(most: number): StoreFault {
  return new StoreFault(`more bytes came than the ${most} asked for`, { code: TOO_LONG, retryable: true });
}
