/** The value of a float tensor of one element, as it would be published. */
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import type { Header, Tensor } from '../../model/header.ts';
import { digestTensors } from '../digests/digest-tensors.ts';

/** As F64, which holds all floats of torch exactly; throws as reading does. */
export async function readScalar(
  tensor: Tensor,
  header: Pick<Header, 'files' | 'storages'>,
  open: (file: PinnedFile) => Promise<ByteSource>,
  signal: AbortSignal,
): Promise<number> {
  const value = new Uint8Array(8);
  let at = 0;
  await digestTensors({
    tensors: [{ name: 'value', dtype: 'F64', shape: tensor.shape, origin: tensor }],
    plan: header,
    open,
    signal,
    onBytes: (_index, bytes) => {
      value.set(bytes, at);
      at += bytes.length;
    },
  });
  return new DataView(value.buffer).getFloat64(0, true);
}
