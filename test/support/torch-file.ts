/** A torch zip archive of any content, as bytes: what a program saved that was not a well-behaved trainer. */
import { pickle, type Pickled } from './pickle.ts';
import { zip } from './zip.ts';

/** A tensor of F32 zeros in a storage of its own; `key` names the storage. */
export function tensor(key: number, shape: readonly number[] = [2]): Pickled {
  const elements = shape.reduce((product, size) => product * size, 1);
  const stride = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1));
  return {
    call: 'torch._utils._rebuild_tensor_v2',
    args: [
      { persistent: { tuple: ['storage', { global: 'torch.FloatStorage' }, String(key), 'cpu', elements] } },
      0,
      { tuple: shape },
      { tuple: stride },
      false,
      { call: 'collections.OrderedDict', args: [] },
    ],
  };
}

/** A mapping with text keys. */
export function dict(entries: Readonly<Record<string, Pickled>>): Pickled {
  return { dict: Object.entries(entries) };
}

/** The archive; `storages` are the keys that `tensor` has used, with their bytes. */
export function torchFile(root: Pickled, storages: Readonly<Record<string, Uint8Array>> = {}): Buffer {
  return zip([
    { name: 'archive/data.pkl', data: pickle(root) },
    { name: 'archive/byteorder', data: Buffer.from('little') },
    ...Object.entries(storages).map(([key, data]) => ({ name: `archive/data/${key}`, data })),
    { name: 'archive/version', data: Buffer.from('3\n') },
  ]);
}
