/** Which tensors are written once. */
import { expect, test } from '@jest/globals';
import { shareBytes, tiedNames } from '../../src/formats/shared-bytes.ts';
import type { Storage, Tensor } from '../../src/model/header.ts';
import type { PlannedTensor } from '../../src/model/plan.ts';

const storages: readonly Storage[] = [{ file: 0, location: { kind: 'range', offset: 0 }, length: 48 }];

function planned(name: string, shape: readonly number[], more: Partial<Tensor> = {}, rest: Partial<PlannedTensor> = {}): PlannedTensor {
  return { name, dtype: 'F32', shape, origin: { dtype: 'F32', shape, storage: 0, offset: 0, ...more }, ...rest };
}

test('views of a storage that is published as a whole stay views of it', () => {
  const tensors = [
    planned('row', [4], { offset: 4 }),
    planned('all', [3, 4]),
    planned('turned', [4, 3], { stride: [1, 4] }),
    planned('flat', [12]),
  ];
  expect(shareBytes(tensors, storages)).toEqual([
    { holder: 1, offset: 4, stride: [1], same: false },
    { holder: 1, offset: 0, stride: [4, 1], same: true },
    { holder: 1, offset: 0, stride: [1, 4], same: false },
    { holder: 1, offset: 0, stride: [1], same: true },
  ]);
  expect(tiedNames(tensors, storages)).toEqual([['row', 'all', 'turned', 'flat']]);
});

test('parts of one that is not are copies, equal parts one', () => {
  const tensors = [planned('a', [4], { offset: 4 }), planned('b', [4], { offset: 0 }), planned('c', [2, 2], { offset: 4 })];
  expect(shareBytes(tensors, storages).map(({ holder, offset }) => [holder, offset])).toEqual([
    [0, 0],
    [1, 0],
    [0, 0],
  ]);
});

test('what is cast, conjugated or otherwise changed shares with its equals only', () => {
  const cast = { dtype: 'BF16' } as const;
  const tensors = [
    planned('all', [3, 4]),
    planned('cast', [3, 4], {}, cast),
    planned('cast too', [12], {}, cast),
    planned('negative', [3, 4], { negative: true }),
  ];
  expect(shareBytes(tensors, storages).map(({ holder }) => holder)).toEqual([0, 1, 1, 3]);
});

test('a scalar that is published for a vector of one has no strides of it', () => {
  const one: PlannedTensor = {
    name: 's',
    dtype: 'F32',
    shape: [],
    origin: { dtype: 'F32', shape: [1], storage: 0, offset: 3, stride: [4] },
  };
  expect(shareBytes([planned('all', [3, 4]), one], storages)[1]).toEqual({ holder: 1, offset: 0, stride: [], same: true });
});
