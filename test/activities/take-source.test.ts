/** What a source records, and what a worker that takes known names only says of one. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { StageCall } from '../../activities/stage.ts';
import { takeSource } from '../../activities/take-source.ts';
import type { JsonObject } from '../../src/errors.ts';
import type { Checksum } from '../../src/io/digests/checksum.ts';
import { openPinned } from '../../src/io/local/local-file.ts';
import { openSource } from '../../src/io/locations/open.ts';
import { slots } from '../../src/io/slots.ts';
import { turnOf } from '../../src/io/turn.ts';
import { fixture } from '../support/project.ts';
import { file, shard } from '../support/rank-files.ts';
import { dict, tensor, torchFile } from '../support/torch-file.ts';

function take(
  path: string,
  refuseUnknown: boolean,
  stateDictKey?: string,
  metadata: JsonObject = {},
  onHeader?: (header: unknown) => void,
  checksum?: Checksum,
): Promise<unknown> {
  const workspace = { putJson: async (header: unknown) => (onHeader?.(header), { uri: 'memory:///header' }) };
  // Of a call, a source uses these only.
  const call = {
    services: {
      open: (uri: string) => openSource(uri),
      openPinned,
      workspace: () => workspace,
      storage: { sha256: async () => undefined },
      refuseUnknown,
    },
    run: { workspace: null },
    stage: { index: 3 },
    context: { metadata },
    signal: new AbortController().signal,
    heartbeat: () => undefined,
    turn: turnOf(slots(1), new AbortController().signal),
  };
  return takeSource(call as unknown as StageCall<unknown>, {
    uri: isAbsolute(path) ? path : fixture(path),
    type: 'test',
    stateDictKey,
    expectedChecksum: checksum,
  });
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

test('an epoch that is a tensor is read along with the header', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ckpt-source-'));
  const path = join(folder, 'epoch.ckpt');
  const storages = { 0: Buffer.alloc(8), 1: Buffer.from(Float32Array.of(7).buffer) };
  await writeFile(path, torchFile(dict({ state_dict: dict({ w: tensor(0) }), epoch: tensor(1, []) }), storages));
  let kept: unknown;
  await take(path, false, undefined, {}, (header) => (kept = header));
  await rm(folder, { recursive: true });
  expect(kept).toMatchObject({ training: { epoch: 7, global_step: null } });
});

test('a checksum is not expected of several files that ranks wrote: it would be compared with the first of them alone', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ckpt-source-'));
  const first = file({ a: { shape: [2] } });
  const checksum: Checksum = { algorithm: 'sha256', digest: createHash('sha256').update(first).digest('hex') };
  const expected = (): Promise<unknown> => take(folder, false, undefined, {}, undefined, checksum);
  await writeFile(join(folder, shard(1)), first);
  await expect(expected()).resolves.toMatchObject({ context: { metadata: { source_sha256: checksum.digest } } });
  await writeFile(join(folder, shard(2)), file({ a: { start: [2], shape: [1] } }));
  await expect(expected()).rejects.toMatchObject({
    code: 'CheckpointConfigError',
    message: expect.stringMatching(/is a checkpoint of 2 files\. Leave the option out/),
    details: { config_path: 'stages[3].expected_checksum' },
  });
  await rm(folder, { recursive: true });
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
