/** What stands in every safetensors file that is written, whatever the plan says. */
import { expect, test } from '@jest/globals';
import { layoutOutputs } from '../../src/formats/outputs.ts';
import type { Plan } from '../../src/model/plan.ts';
import { selectWeights } from '../../src/transform/select-weights.ts';
import { headerOf } from '../support/headers.ts';

const SHAPES = { a: ['F32', [4]], b: ['F32', [4]] } as const;

/** The metadata of each file. */
function metadataOf(more: Partial<Plan>, shardSize: number | null = null): readonly unknown[] {
  const plan = { ...selectWeights(headerOf(SHAPES), { skipUnsupported: false }), ...more };
  const { files } = layoutOutputs(plan, { format: 'safetensors', name: 'model.safetensors', shardSize, trainingState: true });
  return files.map(({ layout }) => {
    const [start] = layout.segments;
    const bytes = start?.kind === 'bytes' ? Buffer.from(start.bytes) : Buffer.alloc(8);
    return (JSON.parse(bytes.toString('utf8', 8)) as { readonly __metadata__?: unknown }).__metadata__;
  });
}

test('its format, without which transformers 4 does not load it', () => {
  expect(metadataOf({})).toEqual([{ format: 'pt' }]);
  expect(metadataOf({ metadata: { epoch: '3' } })).toEqual([{ epoch: '3', format: 'pt' }]);
  expect(metadataOf({}, 16)).toEqual([{ format: 'pt' }, { format: 'pt' }]);
});

test('the format that the source has', () => {
  expect(metadataOf({ metadata: { format: 'tf' } })).toEqual([{ format: 'tf' }]);
});

test.each([
  ['safetensors', 'C128', 'safetensors has no form for 1 of the tensors: a (C128)'],
  ['pytorch', 'F6_E2M3', 'torch has no form for 1 of the tensors: a (F6_E2M3)'],
] as const)('a dtype that %s has no form for: what to do', (format, dtype, says) => {
  const plan = selectWeights(headerOf({ a: [dtype, [4]] }), { skipUnsupported: false });
  const lay = () => layoutOutputs(plan, { format, name: 'model', shardSize: null, trainingState: true });
  expect(lay).toThrow(`${says}. Leave them out (\`exclude\` of \`modifier.select\`)`);
});
