/** What is said of a configuration of Temporal's that cannot be used: which variable to look at. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { configuredNamespace } from '../../../src/app/temporal/connect.ts';

let folder: string;
const before = { ...process.env };
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-connect-'));
});
afterEach(async () => {
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
  await rm(folder, { recursive: true, force: true });
});

test.each<[string, Readonly<Record<string, string>>, string]>([
  ['a certificate', { TEMPORAL_TLS_CLIENT_CERT_PATH: '/nope.pem' }, 'Check TEMPORAL_TLS_CLIENT_CERT_PATH: it names that file.'],
  [
    'a key',
    { TEMPORAL_TLS_CLIENT_CERT_DATA: 'x', TEMPORAL_TLS_CLIENT_KEY_PATH: '/nope.key' },
    'Check TEMPORAL_TLS_CLIENT_KEY_PATH: it names',
  ],
  [
    'both forms',
    { TEMPORAL_TLS_CLIENT_CERT_PATH: '/a', TEMPORAL_TLS_CLIENT_CERT_DATA: 'b' },
    'Keep one of TEMPORAL_TLS_CLIENT_CERT_PATH and',
  ],
  [
    'a certificate without its key',
    { TEMPORAL_TLS_CLIENT_CERT_DATA: 'x' },
    'names the certificate of a client alone. Set TEMPORAL_TLS_CLIENT_KEY_PATH',
  ],
  ['a key without its certificate', { CONFIG: '[profile.default.tls]\nclient_key_data = "x"\n' }, '`client_cert_path` in the profile'],
  ['a profile', { TEMPORAL_PROFILE: 'other' }, 'Check TEMPORAL_PROFILE and TEMPORAL_CONFIG_FILE.'],
  [
    'a file that the profile names',
    { CONFIG: '[profile.default.tls]\nclient_cert_path = "/nope.pem"\n' },
    'in TEMPORAL_CONFIG_FILE, or in',
  ],
])('%s', async (_, { CONFIG = '[profile.default]\n', ...variables }, says) => {
  const file = join(folder, 'temporal.toml');
  await writeFile(file, CONFIG);
  Object.assign(process.env, { TEMPORAL_CONFIG_FILE: file, TEMPORAL_ADDRESS: '127.0.0.1:1', ...variables });
  expect(() => configuredNamespace()).toThrow(says);
});

test('of a file that is not TOML the place is told and no line, in which an API key may stand', async () => {
  const file = join(folder, 'temporal.toml');
  await writeFile(file, '[profile.default]\napi_key = "hush"more\n');
  process.env['TEMPORAL_CONFIG_FILE'] = file;
  let refused: unknown;
  try {
    configuredNamespace();
  } catch (error) {
    refused = error;
  }
  expect(refused).toMatchObject({
    code: 'CheckpointConfigError',
    message: expect.stringMatching(/Invalid TOML document: .* at line 2, column \d+\. Check/),
  });
  expect(inspect(refused, { depth: 5 })).not.toContain('hush');
});
