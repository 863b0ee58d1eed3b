/** Our layout against files that the real library wrote (`test/fixtures/make_safetensors_golden.py`), byte for byte. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { layoutSafetensors } from '../../../src/formats/safetensors/layout.ts';
import { readSafetensors } from '../../../src/formats/safetensors/read.ts';
import { DTYPES, type Dtype } from '../../../src/model/dtype.ts';
import type { Plan } from '../../../src/model/plan.ts';
import { memorySource } from '../../support/memory-source.ts';
import { PROJECT_ROOT } from '../../support/project.ts';

interface Golden {
  readonly title: string;
  readonly tensors: readonly (readonly [name: string, dtype: string, shape: readonly number[]])[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly file: string;
}
const cases = JSON.parse(readFileSync(join(PROJECT_ROOT, 'test', 'fixtures', 'golden', 'safetensors.json'), 'utf8')) as Golden[];

function planOf({ tensors, metadata }: Golden): Plan {
  return {
    files: [],
    storages: [],
    frozen: [],
    skipped: [],
    dropped: [],
    // The other way round: the order of what comes in must not matter.
    metadata: Object.fromEntries(Object.entries(metadata).reverse()),
    tensors: tensors.toReversed().map(([name, torch, shape]) => {
      const packed = torch === 'float4_e2m1fn_x2';
      const dtype = packed ? 'F4' : (Object.keys(DTYPES) as Dtype[]).find((each) => DTYPES[each].torch === torch)!;
      const logical = packed ? [...shape.slice(0, -1), shape.at(-1)! * 2] : shape;
      return { name, dtype, shape: logical, origin: { dtype, shape: logical, storage: 0, offset: 0 } };
    }),
  };
}

test.each(cases)('$title', async (golden) => {
  const plan = planOf(golden);
  const file = Buffer.from(golden.file, 'base64');
  const layout = layoutSafetensors(plan);
  const [start, ...rest] = layout.segments;
  if (start?.kind !== 'bytes') throw new Error('a file begins with its header');
  expect(Buffer.from(start.bytes).toString('latin1')).toBe(file.subarray(0, start.bytes.length).toString('latin1'));
  expect(layout.size).toBe(file.length);
  // Each tensor's bytes count up in sevenths from its place in the list, so the order of the data shows in the file itself.
  const data = rest.flatMap((segment) => {
    if (segment.kind !== 'tensor') throw new Error('tensors follow the header');
    const seed = golden.tensors.length - 1 - segment.index;
    return Array.from({ length: segment.length }, (_, index) => (index * 7 + seed) % 251);
  });
  expect(Buffer.from(data).equals(file.subarray(start.bytes.length))).toBe(true);
  const header = await readSafetensors(memorySource(file));
  expect(header.weights.map(({ name }) => name).toSorted()).toEqual(golden.tensors.map(([name]) => name).toSorted());
  expect(header.metadata).toEqual(golden.metadata);
});

function named(names: readonly (readonly [name: string, dtype: Dtype])[], metadata: Readonly<Record<string, string>> = {}): Plan {
  return {
    ...planOf({ title: '', file: '', tensors: [], metadata }),
    tensors: names.map(([name, dtype]) => ({ name, dtype, shape: [], origin: { dtype, shape: [], storage: 0, offset: 0 } })),
  };
}

test.each([
  ['a name', named([['a\ud800', 'F32']]), 'names', '"a\\ud800"'],
  ['names that would be one pair', named([['a\ud83d', 'F32'], ['\ude00b', 'F32']]), 'names', '"a\\ud83d", "\\ude00b"'], // prettier-ignore
  ['a key of the metadata', named([['a', 'F32']], { '\udfff': 'x' }), 'metadata', '"\\udfff"'],
  ['a value of the metadata', named([['a', 'F32']], { x: '\u{1f600}\ud83d' }), 'metadata', '"\u{1f600}\\ud83d"'],
])('%s with a lone surrogate is refused', (_, plan, what, shown) => {
  const refused = { code: 'CheckpointIncompatibleError', message: expect.stringContaining(what) };
  expect(() => layoutSafetensors(plan)).toThrow(expect.objectContaining(refused));
  expect(() => layoutSafetensors(plan)).toThrow(shown);
});

test('a name that two tensors have is refused, whatever their dtypes and characters', () => {
  const all = (dtype: Dtype): (readonly [string, Dtype])[] => ['b', '\u{1f600}', 'a', '\ufb00', 'c'].map((name) => [name, dtype]);
  expect(layoutSafetensors(named(all('F32'))).segments).toHaveLength(6);
  for (const name of ['a', 'b', 'c', '\u{1f600}', '\ufb00'])
    for (const dtype of ['F32', 'I64', 'F16'] as const)
      expect(() => layoutSafetensors(named([...all('F32'), ['d', 'I64'], [name, dtype], ['e', 'F16']]))).toThrow(
        `Two tensors are named ${name}.`,
      );
  expect(() =>
    layoutSafetensors(
      named([
        ['a', 'F32'],
        ['x', 'I64'],
        ['x', 'F16'],
      ]),
    ),
  ).toThrow('Two tensors are named x.');
});
