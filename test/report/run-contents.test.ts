import { expect, test } from '@jest/globals';
import { MARK, type TensorColumns } from '../../src/report/contents.ts';
import { runContents } from '../../src/report/run-contents.ts';

const NAMES = ['a', 'b', 'c', 'd'];

function columnsOf(frozen: readonly string[]): TensorColumns {
  const { tensors } = runContents({
    result: {
      workflow_id: 'w',
      run_id: 'r',
      status: 'completed',
      stages: [],
      outputs: [],
      metadata: {},
      error: null,
      waiting: null,
    },
    document: null,
    header: null,
    plan: null,
    published: {
      tensors: NAMES.map((name, index) => ({ name, dtype: index < 3 ? 'F32' : 'F16', shape: index === 0 ? [] : [2, index < 2 ? 3 : 4] })),
      skipped: [{ what: 'e', reason: 'unexpected' }],
      dropped: [],
      frozen,
      record: {},
    },
    gaps: [],
    created: '2026-01-01T00:00:00.000Z',
    version: '0.1.0',
  });
  return tensors!;
}

test.each([[[]], [['a', 'd']], [['d', 'a']], [['c', 'x', 'b']], [NAMES]])('%j are marked as frozen, in whichever order', (frozen) => {
  const { name, marks } = columnsOf(frozen);
  const marked = name.filter((_, row) => (marks[row]! & MARK.frozen) !== 0);
  expect(marked).toEqual(NAMES.filter((each) => frozen.includes(each)));
});

test('each row has its own shape and bytes, whatever its neighbour has', () => {
  const { shape, bytes, dtype } = columnsOf([]);
  expect(shape).toEqual(['scalar', '2 × 3', '2 × 4', '2 × 4', null]);
  expect(bytes).toEqual([4, 24, 32, 16, 0]);
  expect(dtype).toEqual(['F32', 'F32', 'F32', 'F16', null]);
});
