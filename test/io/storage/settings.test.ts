import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { readEnvironment } from '../../../src/app/environment.ts';
import { configuredStorage } from '../../../src/app/storage.ts';
import type { CheckpointError } from '../../../src/errors.ts';
import { checkSettings } from '../../../src/io/storage/settings-file.ts';
import { profileOf } from '../../../src/io/storage/settings.ts';
import { PROJECT_ROOT } from '../../support/project.ts';

const wrong: readonly (readonly [string, unknown, string, RegExp])[] = [
  ['no mapping', [], '', /are wrong: expected a mapping, got a list. Its keys are s3, allow, http/],
  ['a text', 's3', '', /^(?!.*``).*expected a mapping/],
  ['an unknown setting', { s4: [] }, 's4', /Did you mean `s3`/],
  ['an unknown setting of a profile', { s3: [{ buckets: ['b'], regoin: 'x' }] }, 's3[0].regoin', /Did you mean `region`/],
  ['no buckets', { s3: [{ buckets: [] }] }, 's3[0].buckets', /it is empty; expected at least 1 item/],
  ['a scheme that is none of HTTP', { s3: [{ buckets: ['b'], endpoint: 'ftp://h' }] }, 's3[0].endpoint', /http:\/\/ or https:\/\//],
  ['an endpoint that is not a URL', { s3: [{ buckets: ['b'], endpoint: 'notaurl' }] }, 's3[0].endpoint', /http:\/\/ or https:\/\//],
  ['a role that is none', { s3: [{ buckets: ['b'], role_arn: 'admin' }] }, 's3[0].role_arn', /IAM role/],
  ['a word for a flag', { allow: { private_addresses: 'hush' } }, 'allow.private_addresses', /expected true or false, got a text\./],
];
test.each(wrong)('refuses %s, with its path', (_, content, path, message) => {
  let thrown: CheckpointError | undefined;
  try {
    checkSettings(content, 'storage.yaml');
  } catch (error) {
    thrown = error as CheckpointError;
  }
  expect(thrown).toMatchObject({ code: 'CheckpointConfigError', details: { config_path: path } });
  expect(thrown!.message).toMatch(message);
});

test.each([
  ['an indent that is wrong', 's3: [\n hush', 'line 2, column 6: A `[` is opened'],
  ['an escape that there is not', 's3: "hush\\q"', 'line 1, column 10: Within `"…"`'],
  ['a key without a blank', 'hush2secret:x\ns3: []', 'line 1, column 1: A blank is missing after `:`.'],
  ['a text that needs quotes', 's3: @hush', 'line 1, column 5: A text that begins with this character needs quotes.'],
  ['an alias of nothing', 's3: *hush', 'an alias'],
])('nothing of a file with %s is repeated', async (_, text, message) => {
  const folder = await mkdtemp(join(tmpdir(), 'ckpt-settings-'));
  const file = join(folder, 'storage.yaml');
  await writeFile(file, text);
  const refused: unknown = await configuredStorage({ file, inputs: 'own' }).catch((error: unknown) => error);
  await rm(folder, { recursive: true });
  expect(refused).toMatchObject({ code: 'CheckpointConfigError', message: expect.stringContaining(message) });
  expect(inspect(refused, { depth: 5 })).not.toContain('hush');
});

test('a credential in the file is refused, and not repeated', () => {
  for (const content of [
    { s3: [{ buckets: ['b'], secret_access_key: 'hush' }] },
    { s3: [{ buckets: ['b'], endpoint: 'https://user:hush@store' }] },
  ])
    expect(() => checkSettings(content, 'storage.yaml')).toThrow(/^(?!.*hush).*AWS (`)?profile/s);
});

test('the first profile that fits a bucket is taken', () => {
  const settings = checkSettings(
    {
      s3: [
        { buckets: ['ckpt-*', 'models'], region: 'a' },
        { buckets: ['*'], region: 'b' },
      ],
    },
    'x',
  );
  expect(['ckpt-1', 'models', 'models2', 'ckpt.1'].map((bucket) => profileOf(settings, bucket)?.region)).toEqual(['a', 'a', 'b', 'b']);
  expect(profileOf(checkSettings({}, 'x'), 'b')).toBeNull();
});

test('variables replace what the file says; other people’s inputs shut private networks', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ckpt-settings-'));
  try {
    const file = join(folder, 'storage.yaml');
    await writeFile(file, 's3:\n  - buckets: [b]\n    region: eu-west-1\nallow:\n  roots: [/data]\n  buckets: [b]\n');
    const settings = async (variables: Record<string, string>, inputs: 'own' | 'anybody') =>
      (await configuredStorage({ inputs, environment: readEnvironment(variables) })).settings;
    expect(await settings({}, 'own')).toMatchObject({ s3: [], allow: { private_addresses: true } });
    expect((await settings({}, 'anybody')).allow).toEqual({ private_addresses: false });
    expect((await settings({ CKPT_STORAGE: file }, 'anybody')).allow).toEqual({
      roots: ['/data'],
      buckets: ['b'],
      private_addresses: false,
    });
    const all = { CKPT_STORAGE: file, CKPT_ALLOWED_ROOTS: '/a:/b', CKPT_ALLOWED_BUCKETS: 'c, d/e', CKPT_ALLOW_PRIVATE_ADDRESSES: '1' };
    expect((await settings(all, 'anybody')).allow).toEqual({ roots: ['/a', '/b'], buckets: ['c', 'd/e'], private_addresses: true });
    await expect(configuredStorage({ inputs: 'own', file: join(folder, 'none.yaml') })).rejects.toMatchObject({
      code: 'CheckpointConfigError',
    });
    const latin = join(folder, 'latin.yaml');
    await writeFile(latin, Buffer.from('allow:\n  roots: [/für]\n', 'latin1'));
    await expect(configuredStorage({ inputs: 'own', file: latin })).rejects.toThrow(
      /latin\.yaml, line 2: the byte 0xfc at 19 is not UTF-8/,
    );
    expect(() => readEnvironment({ CKPT_ALLOW_PRIVATE_ADDRESSES: 'maybe' })).toThrow(/expected 1 or 0/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('the settings that the documentation shows are taken as they stand', async () => {
  const text = await readFile(join(PROJECT_ROOT, 'docs', 'storage.md'), 'utf8');
  const shown = [...text.matchAll(/```yaml\n((?:s3|allow|http):.*?)```/gs)].map(([, block]) => parse(block!) as object);
  expect(shown).toHaveLength(2);
  const settings = checkSettings(Object.assign({}, ...shown), 'docs/storage.md');
  expect(profileOf(settings, 'lab-1')).toMatchObject({ endpoint: expect.stringContaining('minio'), path_style: true });
  expect(profileOf(settings, 'archive')).toMatchObject({ profile: 'ceph' });
  expect(profileOf(settings, 'training')).toMatchObject({ region: 'eu-west-1' });
  expect(settings.allow.private_addresses).toBe(false);
});
