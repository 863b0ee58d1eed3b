/** Archives of storages that tensors show in any way, whole and with a bit that was changed. */
import { layoutOutputs } from '../../src/formats/outputs.ts';
import { readArchive } from '../../src/formats/zip/archive.ts';
import { dataOffset } from '../../src/formats/zip/local-header.ts';
import { pin } from '../../src/model/byte-source.ts';
import { bytesPerElement } from '../../src/model/dtype.ts';
import type { Format, Storage, Tensor } from '../../src/model/header.ts';
import type { Plan, PlannedTensor } from '../../src/model/plan.ts';
import { memorySource, type MemorySource } from './memory-source.ts';
import { zip } from './zip.ts';

export interface Stored {
  readonly bytes: Uint8Array;
  readonly deflated?: boolean;
  readonly byteOrder?: 'big';
}

/** A view of a storage; `dtype`: what it is cast to. */
export type View = Pick<Tensor, 'dtype' | 'shape'> &
  Partial<Pick<Tensor, 'storage' | 'offset' | 'stride' | 'conjugate' | 'negative'>> & { readonly cast?: PlannedTensor['dtype'] };

export interface Stocked {
  readonly plan: Plan;
  readonly file: Buffer;
  /** Where in the file the data of each storage begins. */
  readonly starts: readonly number[];
  readonly open: () => Promise<MemorySource>;
}

/** The archive `uri` with these storages, and a plan of all the views by their names. */
export async function stocked(storages: readonly Stored[], views: Readonly<Record<string, View>>, uri = 'file:///w.pt'): Promise<Stocked> {
  const file = zip(storages.map(({ bytes, deflated = false }, key) => ({ name: `m/data/${key}`, data: bytes, deflated, descriptor: {} })));
  const source = memorySource(file, uri);
  const { members } = await readArchive(source);
  const plan: Plan = {
    files: [pin(source)],
    storages: members.map((location, key): Storage => {
      const { byteOrder } = storages[key]!;
      return { file: 0, location, length: location.size, ...(byteOrder === undefined ? {} : { byteOrder }) };
    }),
    tensors: Object.entries(views).map(([name, { cast, ...view }]) => {
      const origin: Tensor = { storage: 0, offset: 0, ...view };
      return { name, dtype: cast ?? view.dtype, shape: view.shape, origin };
    }),
    frozen: [],
    skipped: [],
    dropped: [],
    metadata: {},
  };
  const starts = await Promise.all(members.map((member) => dataOffset(source, member)));
  return { plan, file, starts, open: async () => memorySource(file, uri) };
}

/** The same with a bit changed in the file, at a byte of a storage that is stored as it is. */
export function flipped({ file, starts, plan }: Stocked, storage: number, byte: number, bit = 3): () => Promise<MemorySource> {
  const damaged = Buffer.from(file);
  damaged[starts[storage]! + byte]! ^= 1 << bit;
  return async () => memorySource(damaged, plan.files[0]!.uri);
}

export function layoutOf({ plan }: Stocked, format: Format) {
  const { files, plan: planned } = layoutOutputs(plan, { format, name: 'out', shardSize: null, trainingState: true });
  return { layout: files[0]!.layout, plan: planned };
}

/** Bytes of a storage that a view shows, in its order: an element at a time. */
export function* bytesShown({ dtype, shape, stride, offset = 0 }: View): Generator<number> {
  const size = bytesPerElement(dtype);
  const steps = stride ?? shape.map((_, axis) => shape.slice(axis + 1).reduce((product, extent) => product * extent, 1));
  const position = shape.map(() => 0);
  if (shape.includes(0)) return;
  for (;;) {
    const element = position.reduce((sum, at, axis) => sum + at * steps[axis]!, offset);
    for (let byte = 0; byte < size; byte++) yield element * size + byte;
    let axis = shape.length - 1;
    while (axis >= 0 && ++position[axis]! === shape[axis]) position[axis--] = 0;
    if (axis < 0) return;
  }
}
