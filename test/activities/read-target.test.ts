/** JSON specs as targets, from files that may come from anybody. */
import { expect, test } from '@jest/globals';
import { checkTargetKey, readTarget } from '../../activities/read-target.ts';
import type { StageCall } from '../../activities/stage.ts';
import { CheckpointNotFoundError, CheckpointSourceError } from '../../src/errors.ts';
import { slots } from '../../src/io/slots.ts';
import { turnOf } from '../../src/io/turn.ts';
import type { ByteSource } from '../../src/model/byte-source.ts';
import type { Target } from '../../src/model/target.ts';
import { memorySource } from '../support/memory-source.ts';
import { dict, tensor, torchFile } from '../support/torch-file.ts';

const URI = 'memory:///target.json';
const SPEC = '{"shape":[2,3],"dtype":"F32"}';

function read(content: string | Uint8Array, stateDictKey?: string): Promise<Target> {
  return readTarget(
    callWith(async () => memorySource(Buffer.from(content), URI)),
    URI,
    stateDictKey,
  );
}

/** Of a call, the reading of a target uses these only. */
function callWith(open: () => Promise<ByteSource>): StageCall<unknown> {
  return { services: { open }, stage: { index: 0 }, turn: turnOf(slots(1), new AbortController().signal) } as unknown as StageCall<unknown>;
}

test('a spec is taken by its names', async () => {
  const { kind, tensors } = await read(`{"__metadata__":{"a":"b"},"a":${SPEC},"b":${SPEC}}`);
  expect({ kind, names: tensors.map(({ name }) => name) }).toEqual({ kind: 'spec', names: ['a', 'b'] });
});

test.each([
  ['no JSON', '{nope', 'CheckpointLoadError', 'begins like a JSON spec but is not JSON'],
  [
    'values without end',
    `{"a":[${'{},'.repeat(2_500_000)}{}]}`,
    'CheckpointLoadError',
    'but is too much JSON: it has 4800001 values or more',
  ],
  ['nesting without end', `{"a":${'['.repeat(1000)}`, 'CheckpointLoadError', 'but is too much JSON: it nests 201 levels deep'],
  ['a name twice', `{"a":${SPEC},"a":${SPEC}}`, 'CheckpointValidationError', 'the key "a" stands twice at character'],
  ['a name twice, one escaped', `{"a":${SPEC},"\\u0061":${SPEC}}`, 'CheckpointValidationError', 'the key "a" stands twice at character'],
  ['a field twice', '{"a":{"shape":[1],"dtype":"F32","shape":[2]}}', 'CheckpointValidationError', 'the key "shape" stands twice'],
  ['no tensor', '{}', 'CheckpointValidationError', 'it names no tensor'],
])('a spec with %s is refused', async (_, text, code, message) => {
  await expect(read(text)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
});

test('a spec whose names are in another encoding is refused, and none of their characters replaced', async () => {
  await expect(read(Buffer.from(`{"für":${SPEC}}`, 'latin1'))).rejects.toMatchObject({
    code: 'CheckpointConfigError',
    message: '`target`: memory:///target.json, line 1: the byte 0xfc at 3 is not UTF-8. Save the file in that encoding.',
    details: { config_path: 'target' },
  });
});

test('a checkpoint is taken by the key of its weights', async () => {
  const file = torchFile(dict({ net: dict({ w: tensor(0) }), old: dict({ v: tensor(0) }) }), { '0': new Uint8Array(8) });
  await expect(read(file)).rejects.toMatchObject({
    details: { reason: 'no_state_dict' },
    message: expect.stringContaining('`target_state_dict_key`'),
  });
  expect((await read(file, 'net')).tensors.map(({ name }) => name)).toEqual(['w']);
  await expect(read(file, 'nets')).rejects.toMatchObject({ code: 'CheckpointValidationError' });
});

test('errors say that it is the target that they are about, and keep their details', async () => {
  await expect(read('{nope')).rejects.toMatchObject({ details: { path: URI }, message: expect.stringMatching(/^`target`: memory:/) });
  await expect(read('nothing that is known')).rejects.toThrow(/^`target`: memory:/);
  await expect(read('{}')).rejects.toThrow(/^`target`: .*it names no tensor/);
  const error = await readTarget(
    callWith(async () => Promise.reject(new CheckpointNotFoundError('There is no /t.ckpt.', '/t.ckpt'))),
    '/t.ckpt',
  ).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(CheckpointNotFoundError);
  expect(error).toMatchObject({ message: '`target`: There is no /t.ckpt.', details: { path: '/t.ckpt' }, retryable: false });
  const later = new CheckpointSourceError('It is busy.', 'https://x/t', { retryAfterMs: 5 });
  await expect(
    readTarget(
      callWith(async () => Promise.reject(later)),
      'https://x/t',
    ),
  ).rejects.toBe(later);
});

test('a key of what has none is refused', async () => {
  await expect(read(`{"a":${SPEC}}`, 'net')).rejects.toMatchObject({
    code: 'CheckpointConfigError',
    details: { config_path: 'target_state_dict_key' },
  });
  expect(() => checkTargetKey('net', null)).toThrow('there is no `target`');
  expect(() => checkTargetKey('net', 'checkpoint')).not.toThrow();
  expect(() => checkTargetKey(undefined, 'spec')).not.toThrow();
});
