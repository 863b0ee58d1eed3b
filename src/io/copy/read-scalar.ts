/** The value of a tensor of one number, as it would be published. */
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import { dtypeKind } from '../../model/dtype.ts';
import type { Header, Tensor } from '../../model/header.ts';
import { digestTensors } from '../digests/digest-tensors.ts';

/** A float or an integer, of which those beyond 2^53 are rounded; throws as reading does. */
export async function readScalar(
  tensor: Tensor,
  header: Pick<Header, 'files' | 'storages'>,
  open: (file: PinnedFile) => Promise<ByteSource>,
  signal: AbortSignal,
): Promise<number> {
  // These hold all others of their kind exactly.
  const as = dtypeKind(tensor.dtype) === 'float' ? 'F64' : tensor.dtype === 'U64' ? 'U64' : 'I64';
  const value = new Uint8Array(8);
  let at = 0;
  await digestTensors({
    tensors: [{ name: 'value', dtype: as, shape: tensor.shape, origin: tensor }],
    plan: header,
    open,
    signal,
    rests: 'none',
    onBytes: (_index, bytes) => {
      value.set(bytes, at);
      at += bytes.length;
    },
  });
  const view = new DataView(value.buffer);
  if (as === 'F64') return view.getFloat64(0, true);
  return Number(as === 'U64' ? view.getBigUint64(0, true) : view.getBigInt64(0, true));
}
