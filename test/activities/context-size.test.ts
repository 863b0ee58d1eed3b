/** How large what stages hand on may become. */
import { expect, test } from '@jest/globals';
import { withinLimit } from '../../activities/context-size.ts';
import { CONTEXT_LIMIT, EMPTY_CONTEXT, type CheckpointContext, type Output } from '../../src/model/context.ts';

const size = (context: CheckpointContext): number => Buffer.byteLength(JSON.stringify(context));

test('what keeps the limit passes as it is', () => {
  const context = { ...EMPTY_CONTEXT, metadata: { frozen_modules: ['a', 'b'], epoch: 3 } };
  expect(withinLimit('modifier.freezing', context)).toBe(context);
});

test('many stages with long lists, and many that failed, do not fail the run: the longest are cut, what is short stays', () => {
  const paths = Array.from({ length: 400 }, (_, index) => `model.model.encoder.layers.${index}.attention`);
  const failed = Array.from({ length: 60 }, (_, index) => [`stage_${index}_modifier.rename`, `failed: ${'ü'.repeat(400)}`]);
  const metadata = { epoch: 3, frozen_modules: paths, num_frozen: paths.length, ...Object.fromEntries(failed) };
  const kept = withinLimit('modifier.freezing', { ...EMPTY_CONTEXT, metadata });
  expect(size(kept)).toBeLessThanOrEqual(CONTEXT_LIMIT);
  expect(Object.keys(kept.metadata)).toEqual(Object.keys(metadata));
  expect(kept.metadata).toMatchObject({ epoch: 3, num_frozen: 400, 'stage_0_modifier.rename': expect.stringMatching(/^failed: /) });
});

test('outputs have been published: however many, they pass', () => {
  const output = {
    uri: `file:///${'x'.repeat(1700)}`,
    manifest: `file:///${'x'.repeat(1700)}`,
    format: 'safetensors',
  } as unknown as Output;
  const context = { ...EMPTY_CONTEXT, outputs: Array.from({ length: 20 }, () => output) };
  expect(withinLimit('sink.publish', context)).toBe(context);
});

test('what cannot be cut is refused with what to do', () => {
  const metadata = Object.fromEntries(Array.from({ length: 4000 }, (_, index) => [`key_${index}`, index]));
  expect(() => withinLimit('modifier.mine', { ...EMPTY_CONTEXT, metadata })).toThrow(
    /^modifier\.mine made a context of \d+ bytes; the limit is 16384\./,
  );
});
