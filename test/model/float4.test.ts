/** Four-bit floats under the names of both containers (test/oracle compares with the libraries' own files). */
import { expect, test } from '@jest/globals';
import type { Dtype } from '../../src/model/dtype.ts';
import { withFloat4As } from '../../src/model/float4.ts';
import type { Header } from '../../src/model/header.ts';
import type { Plan, PlannedTensor } from '../../src/model/plan.ts';
import type { Target } from '../../src/model/target.ts';
import { compareWeights } from '../../src/transform/compare-weights.ts';
import { matchTarget } from '../../src/transform/match.ts';

function tensor(dtype: Dtype, shape: readonly number[], origin: Partial<PlannedTensor['origin']> = {}): PlannedTensor {
  return { name: 'w', dtype, shape, origin: { dtype, shape, storage: 0, offset: 0, ...origin } };
}

function planOf(...tensors: readonly PlannedTensor[]): Plan {
  return { files: [], storages: [], frozen: [], skipped: [], dropped: [], metadata: {}, tensors };
}

test('safetensors counts values, torch the bytes that hold two', () => {
  const torch = planOf(tensor('F4_X2', [2, 3, 4], { offset: 8 }), tensor('F32', [2]));
  const safetensors = planOf(tensor('F4', [2, 3, 8], { offset: 16 }), tensor('F32', [2]));
  expect(withFloat4As(torch, 'F4')).toEqual(safetensors);
  expect(withFloat4As(safetensors, 'F4_X2')).toEqual(torch);
});

test('of a training state, too', () => {
  const plan = { ...planOf(), stateTensors: [tensor('F4', [4])] };
  expect(withFloat4As(plan, 'F4_X2').stateTensors).toEqual([tensor('F4_X2', [2])]);
});

test.each([
  ['a scalar', tensor('F4_X2', []), 'F4'],
  ['rows that do not follow each other', tensor('F4_X2', [2, 2], { stride: [4, 1] }), 'F4'],
  ['an odd number of values in a row', tensor('F4', [2, 3]), 'F4_X2'],
] as const)('%s has no form of the other kind', (_, given, dtype) => expect(withFloat4As(planOf(given), dtype)).toEqual(planOf(given)));

test('a target of the other kind is fitted', () => {
  const target: Target = { uri: null, kind: 'spec', files: [], storages: [], tensors: [{ name: 'w', dtype: 'F4', shape: [2, 8] }] };
  const rules = { strict: true, skipMismatched: false, skipUnsupported: false };
  const { selected } = matchTarget([{ name: 'w', tensor: tensor('F4_X2', [2, 4], { offset: 3 }).origin }], target, rules);
  expect(selected.get('w')?.source).toEqual(tensor('F4', [2, 8], { offset: 6 }).origin);
});

test('files of both kinds compare as what they are', () => {
  const headerOf = ({ origin }: PlannedTensor): Header =>
    ({ weights: [{ name: 'w', tensor: 0 }], tensors: [origin] }) as Partial<Header> as Header;
  const [torch, safetensors] = [headerOf(tensor('F4_X2', [2, 4])), headerOf(tensor('F4', [2, 8]))];
  expect(compareWeights(torch, safetensors)).toMatchObject({ shapes: [], dtypes: [], alike: [{ name: 'w' }] });
  expect(compareWeights(safetensors, torch)).toMatchObject({ shapes: [], dtypes: [], alike: [{ name: 'w' }] });
  expect(compareWeights(torch, headerOf(tensor('F4', [2, 4]))).shapes).toEqual([{ name: 'w', source: [2, 8], target: [2, 4] }]);
});
