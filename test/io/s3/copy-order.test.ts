import { expect, test } from '@jest/globals';
import { layoutSafetensors } from '../../../src/formats/safetensors/layout.ts';
import { readSafetensors } from '../../../src/formats/safetensors/read.ts';
import { copyOrder } from '../../../src/io/s3/copy-order.ts';
import { copyRuns } from '../../../src/io/s3/copy-runs.ts';
import { planParts } from '../../../src/io/s3/parts.ts';
import type { Plan } from '../../../src/model/plan.ts';
import { memorySource } from '../../support/memory-source.ts';

const MIB = 2 ** 20;

/** Tensors of one file at the given offsets, in F32, or BF16 where the name says so. */
function planOf(tensors: readonly (readonly [name: string, offset: number, length: number])[]): Plan {
  return {
    files: [{ uri: 's3://b/k', size: 2 ** 40, identity: '"e"' }],
    storages: tensors.map(([, offset, length]) => ({ file: 0, location: { kind: 'range', offset }, length })),
    tensors: tensors.map(([name, , length], storage) => {
      const dtype = name.startsWith('bf16') ? ('BF16' as const) : ('F32' as const);
      const shape = [length / (dtype === 'BF16' ? 2 : 4)];
      return { name, dtype, shape, origin: { dtype, shape, storage, offset: 0 } };
    }),
    frozen: [],
    skipped: [],
    dropped: [],
    metadata: {},
  };
}

const names = (plan: Plan, isNear = (): boolean => true): readonly string[] =>
  layoutSafetensors(plan, (each, order) => copyOrder(each, order, isNear)).segments.flatMap((segment) =>
    segment.kind === 'tensor' ? [plan.tensors[segment.index]!.name] : [],
  );

test('large tensors stand behind the small ones of their dtype', () => {
  const plan = planOf([
    ['a', 100, 8 * MIB],
    ['b', 20 * MIB, 400],
    ['c', 30 * MIB, 8 * MIB],
    ['d', 50 * MIB, 4],
    ['bf16.a', 60 * MIB, 6 * MIB],
    ['bf16.b', 70 * MIB, 2],
  ]);
  expect(names(plan)).toEqual(['b', 'd', 'a', 'c', 'bf16.b', 'bf16.a']);
  expect(names(plan, () => false)).toEqual(['a', 'b', 'c', 'd', 'bf16.a', 'bf16.b']);
});

test('what lies side by side in the source stays so, however small', () => {
  const plan = planOf([
    ['a', 0, 4 * MIB],
    ['b', 4 * MIB, 400],
    ['c', 4 * MIB + 400, 4 * MIB],
    ['d', 90 * MIB, 4],
    ['e', 10 * MIB, 4 * MIB],
  ]);
  expect(names(plan)).toEqual(['d', 'e', 'a', 'b', 'c']);
});

test('views that lie side by side in a member of an archive are copied as one', () => {
  const plan = planOf([
    ['a', 0, 4 * MIB],
    ['b', 4 * MIB, 4 * MIB],
    ['c', 8 * MIB, 4 * MIB],
    ['d', 0, 4],
  ]);
  const member = { kind: 'member', name: 'm', method: 'stored', flags: 0, crc32: 0, header: 0 } as const;
  const storages = [12 * MIB, 4].map((length) => ({
    file: 0,
    location: { ...member, stored: length, size: length, end: 13 * MIB },
    length,
  }));
  const tensors = plan.tensors.map((tensor, index) => ({
    ...tensor,
    origin: { ...tensor.origin, storage: index < 3 ? 0 : 1, offset: index < 3 ? index * MIB : 0 },
  }));
  const views: Plan = { ...plan, storages, tensors };
  expect(names(views)).toEqual(['d', 'a', 'b', 'c']);
  const layout = layoutSafetensors(views, (each, order) => copyOrder(each, order, () => true));
  const copies = planParts(copyRuns(layout, views, () => true)).map(({ copy }) => copy);
  expect(copies).toEqual([null, { file: 0, member: 0, offset: expect.any(Number) as unknown }]);
});

test('the file is one that readers take, with every tensor at its own place', async () => {
  const plan = planOf([
    ['a', 100, 8 * MIB],
    ['b', 20 * MIB, 400],
  ]);
  const layout = layoutSafetensors(plan, (each, order) => copyOrder(each, order, () => true));
  const [start] = layout.segments;
  const file = new Uint8Array(layout.size);
  if (start?.kind === 'bytes') file.set(start.bytes);
  const header = await readSafetensors(memorySource(file));
  const places = Object.fromEntries(
    header.weights.map(({ name, tensor }) => {
      const { location } = header.storages[header.tensors[tensor]!.storage]!;
      return [name, location.kind === 'range' ? layout.size - location.offset : null];
    }),
  );
  expect(places).toEqual({ b: 8 * MIB + 400, a: 8 * MIB });
});
