/** SHA-256 of tensors as they would be published, without publishing them: read once, in constant memory. */
import type { Layout } from '../../formats/layout.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import { tensorBytes } from '../../model/dtype.ts';
import type { Plan, PlannedTensor } from '../../model/plan.ts';
import { copyLayout } from '../copy/copy.ts';
import type { RestsRead } from '../copy/rest-budget.ts';

export interface DigestOptions {
  readonly tensors: readonly PlannedTensor[];
  readonly plan: Pick<Plan, 'files' | 'storages'>;
  readonly open: (file: PinnedFile) => Promise<ByteSource>;
  readonly signal: AbortSignal;
  /** Of members that are read in part, what else is read for their CRC-32; absent: small rests. */
  readonly rests?: RestsRead;
  /** Called with the bytes of each tensor in order, block by block; whole elements, or the rest of one. */
  readonly onBytes?: (index: number, bytes: Uint8Array) => void;
}

const NOTHING = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** In the order of `tensors`; throws as reading does, also where the archive's own checksum shows damage. */
export async function digestTensors(options: DigestOptions): Promise<readonly string[]> {
  const { tensors, plan, open, signal, rests = 'small', onBytes } = options;
  const lengths = tensors.map(({ dtype, shape }) => tensorBytes(dtype, shape));
  const size = lengths.reduce((sum, length) => sum + length, 0);
  if (size === 0) return tensors.map(() => NOTHING);
  const layout: Layout = {
    format: 'digest',
    size,
    tensors,
    segments: lengths.map((length, index) => ({ kind: 'tensor', index, length })),
  };
  let index = 0;
  let done = 0;
  const copied = await copyLayout({
    layout,
    // Copying needs of a plan where the bytes are, and nothing else.
    plan: { ...plan, tensors, frozen: [], skipped: [], dropped: [], metadata: {} },
    open,
    signal,
    rests,
    onProgress: () => undefined,
    write: async (block) => {
      for (let at = 0; at < block.length;) {
        while (done === lengths[index]) {
          index++;
          done = 0;
        }
        const take = Math.min(block.length - at, lengths[index]! - done);
        onBytes?.(index, block.subarray(at, at + take));
        at += take;
        done += take;
      }
    },
  });
  return tensors.map((_, tensor) => copied.tensors[tensor] ?? NOTHING);
}
