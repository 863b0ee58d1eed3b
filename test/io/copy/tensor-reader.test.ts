/** Lazily negated views: resolved where floats have a sign to turn, else refused with what torch can do about them. */
import { expect, test } from '@jest/globals';
import { tensorFill } from '../../../src/io/copy/tensor-reader.ts';
import { bytesPerElement, type Dtype } from '../../../src/model/dtype.ts';
import type { Storage } from '../../../src/model/header.ts';

function filled(dtype: Dtype): ReturnType<typeof tensorFill> {
  const storage: Storage = { file: 0, location: { kind: 'range', offset: 0 }, length: bytesPerElement(dtype) };
  const reader = { length: storage.length, readInto: async (_: number, target: Uint8Array) => void target.fill(1), close: () => undefined };
  return tensorFill(reader, storage, { dtype, shape: [1], storage: 0, offset: 0, negative: true });
}

test.each<[Dtype, string]>([
  ['I64', 'Save tensor.resolve_neg().resolve_conj() instead.'],
  ['U8', 'Save tensor.resolve_neg().resolve_conj() instead.'],
  ['F8_E4M3', 'save torch._neg_view(tensor).to(torch.float32).neg() instead.'],
  ['F8_E8M0', 'save torch._neg_view(tensor).to(torch.float32).neg() instead.'],
  ['U16', 'save torch._neg_view(tensor) instead, the numbers as they are stored.'],
  ['BOOL', 'save torch._neg_view(tensor) instead, the numbers as they are stored.'],
])('%s is refused with advice that torch can follow', (dtype, advice) => {
  const message = expect.stringContaining(advice);
  expect(() => filled(dtype)).toThrow(expect.objectContaining({ code: 'CheckpointIncompatibleError', message }));
});

test('a float has its sign turned', async () => {
  const target = new Uint8Array(2);
  await filled('F16')(0, target);
  expect([...target]).toEqual([1, 0x81]);
});
