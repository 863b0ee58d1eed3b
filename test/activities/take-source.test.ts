/** What a source records, and what a worker that takes known names only says of one. */
import { expect, test } from '@jest/globals';
import type { StageCall } from '../../activities/stage.ts';
import { takeSource } from '../../activities/take-source.ts';
import type { JsonObject } from '../../src/errors.ts';
import { openSource } from '../../src/io/locations/open.ts';
import { slots } from '../../src/io/slots.ts';
import { turnOf } from '../../src/io/turn.ts';
import { fixture } from '../support/project.ts';

function take(path: string, refuseUnknown: boolean, stateDictKey?: string, metadata: JsonObject = {}): Promise<unknown> {
  const workspace = { putJson: async () => ({ uri: 'memory:///header' }) };
  // Of a call, a source uses these only.
  const call = {
    services: { open: openSource, workspace: () => workspace, refuseUnknown },
    run: { workspace: null },
    stage: { index: 3 },
    context: { metadata },
    turn: turnOf(slots(1), new AbortController().signal),
  };
  return takeSource(call as unknown as StageCall<unknown>, { uri: fixture(path), type: 'test', stateDictKey });
}

const unknown = 'good/lightning_rich_hparams_p2.ckpt';

test('unknown names are data, unless the worker refuses them', async () => {
  await expect(take(unknown, false)).resolves.toMatchObject({ summary: expect.stringContaining('lightning') });
  await expect(take(unknown, true)).rejects.toMatchObject({
    code: 'CheckpointValidationError',
    message: expect.stringMatching(/fixture_models\.\w+.*--refuse-unknown/),
    details: { globals: expect.arrayContaining([expect.objectContaining({ module: 'fixture_models', verdict: 'unknown' })]) },
  });
});

test('known names are taken either way', async () => {
  await expect(take('good/lightning_trained.ckpt', true)).resolves.toMatchObject({ summary: expect.any(String) });
});

test('the key of the weights is recorded, that of an earlier source is not, and a wrong one is told with its place', async () => {
  const training = 'good/pytorch_training.pt';
  await expect(take(training, false, 'optimizer_state_dict.state.0')).resolves.toMatchObject({
    context: { metadata: { state_dict_key: 'optimizer_state_dict.state.0' } },
    summary: expect.stringContaining('3 tensors'),
  });
  await expect(take(training, false, undefined, { state_dict_key: 'ema' })).resolves.toMatchObject({
    context: { metadata: expect.not.objectContaining({ state_dict_key: expect.anything() }) },
  });
  await expect(take('good/plain.safetensors', false, 'ema')).rejects.toMatchObject({
    code: 'CheckpointConfigError',
    details: { config_path: 'stages[3].state_dict_key' },
  });
});

test.each([
  [true, ['memory:///gone']],
  [false, []],
])('an attempt that cannot open it, the last one: %s', async (last, expected) => {
  const forgotten: string[] = [];
  const open = () => Promise.reject(new Error('broken off'));
  const services = { open, storage: { forget: async (uri: string) => void forgotten.push(uri) } };
  const call = { services, last } as unknown as StageCall<unknown>;
  await expect(takeSource(call, { uri: 'memory:///gone', type: 'test' })).rejects.toThrow('broken off');
  expect(forgotten).toEqual(expected);
});
