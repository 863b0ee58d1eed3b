/** Environment variables enter in one file; everything else takes values. */
import { readdirSync, readFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { callerFolder, differencesOf, readEnvironment, withStorageFile } from '../../src/app/environment.ts';
import { PROJECT_ROOT } from '../support/project.ts';

test('no other module reads an environment variable', () => {
  const readers = ['src', 'activities', 'workflows', 'bin']
    .flatMap((folder) => readdirSync(join(PROJECT_ROOT, folder), { recursive: true }).map((name) => join(folder, String(name))))
    .filter((name) => /\.[jt]s$/.test(name))
    .filter((name) => /process\s*\.\s*env|\benv\b[^;]*from 'node:process'/.test(readFileSync(join(PROJECT_ROOT, name), 'utf8')));
  expect(readers).toEqual([join('src', 'app', 'environment.ts')]);
});

const NO_WORKER_VARIABLES = {
  transfers: null,
  activities: null,
  memory: null,
  healthPort: null,
  metricsPort: null,
  deployment: null,
  buildId: null,
};

test('nothing set: folders as XDG says', () => {
  expect(readEnvironment({})).toEqual({
    temporalProgram: null,
    searchPath: [],
    uiUrl: null,
    stateFolder: join(homedir(), '.local/state/checkpoint-pipeline'),
    cacheFolder: join(homedir(), '.cache/checkpoint-pipeline'),
    temporaryFolder: tmpdir(),
    workspace: join(homedir(), '.local/state/checkpoint-pipeline/workspace'),
    ownsWorkspace: true,

    storageFile: null,
    allowedRoots: null,
    allowedBuckets: null,
    allowPrivateAddresses: null,
    reach: {},
    worker: NO_WORKER_VARIABLES,
    traces: false,
  });
});

test('each variable is taken, and an empty one counts as unset', () => {
  const variables = {
    TEMPORAL_CLI_PATH: '/opt/temporal',
    PATH: '/usr/bin::/bin',
    TEMPORAL_UI_URL: 'http://ui.example',
    XDG_STATE_HOME: '/state',
    XDG_CACHE_HOME: '/cache',
    TMPDIR: '/scratch',
    CKPT_WORKSPACE: '/data/workspace',
    CKPT_STORAGE: '/etc/ckpt.yaml',
    CKPT_ALLOWED_ROOTS: '/data:/scratch',
    CKPT_ALLOWED_BUCKETS: 'models, training/a',
    CKPT_ALLOW_PRIVATE_ADDRESSES: 'no',
    CKPT_TRANSFERS: '2',
    CKPT_ACTIVITIES: '50',
    CKPT_MEMORY: '1GiB',
    CKPT_HEALTH_PORT: '0.0.0.0:8081',
    CKPT_METRICS_PORT: '9464',
    CKPT_DEPLOYMENT: 'ckpt',
    CKPT_BUILD_ID: '1.2.3',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
  };
  expect(readEnvironment(variables)).toEqual({
    temporalProgram: '/opt/temporal',
    searchPath: ['/usr/bin', '/bin'],
    uiUrl: 'http://ui.example',
    stateFolder: '/state/checkpoint-pipeline',
    cacheFolder: '/cache/checkpoint-pipeline',
    temporaryFolder: '/scratch',
    workspace: '/data/workspace',
    ownsWorkspace: false,
    storageFile: '/etc/ckpt.yaml',
    allowedRoots: ['/data', '/scratch'],
    allowedBuckets: ['models', 'training/a'],
    allowPrivateAddresses: false,
    reach: {
      CKPT_STORAGE: expect.stringMatching(/^[0-9a-f]{16}$/),
      CKPT_ALLOWED_ROOTS: expect.anything(),
      CKPT_ALLOWED_BUCKETS: expect.anything(),
      CKPT_ALLOW_PRIVATE_ADDRESSES: expect.anything(),
    },
    worker: {
      transfers: '2',
      activities: '50',
      memory: '1GiB',
      healthPort: '0.0.0.0:8081',
      metricsPort: '9464',
      deployment: 'ckpt',
      buildId: '1.2.3',
    },
    traces: true,
  });
  expect(readEnvironment({ ...variables, OTEL_SDK_DISABLED: 'true' }).traces).toBe(false);
  expect(readEnvironment({ ...variables, OTEL_TRACES_EXPORTER: 'none' }).traces).toBe(false);
  expect(readEnvironment({ ...variables, CKPT_WORKSPACE: '', TEMPORAL_CLI_PATH: '' })).toMatchObject({
    temporalProgram: null,
    workspace: '/state/checkpoint-pipeline/workspace',
  });
});

test("npm's idea of the folder counts under `npm start` alone", () => {
  expect(callerFolder({ npm_lifecycle_event: 'start', INIT_CWD: '/home/me/models' })).toBe('/home/me/models');
  expect(callerFolder({ npm_lifecycle_event: 'test', INIT_CWD: '/elsewhere' })).toBe(process.cwd());
});

test('what decides of what a worker reaches is compared by name, without a secret', () => {
  const { reach } = readEnvironment({
    AWS_PROFILE: 'a',
    AWS_SECRET_ACCESS_KEY: 's',
    AWS_SESSION_TOKEN: 't',
    CKPT_ALLOWED_ROOTS: '/data',
    HOME: '/x',
  });
  expect(Object.keys(reach).sort()).toEqual(['AWS_PROFILE', 'CKPT_ALLOWED_ROOTS']);
  expect(differencesOf(reach, readEnvironment({ AWS_PROFILE: 'a', CKPT_ALLOWED_ROOTS: '/data' }).reach)).toEqual([]);
  expect(differencesOf(reach, readEnvironment({ AWS_PROFILE: 'b' }).reach)).toEqual(['CKPT_ALLOWED_ROOTS', 'AWS_PROFILE']);
  const named = withStorageFile(readEnvironment({}), '/etc/ckpt.yaml');
  expect(differencesOf(named.reach, readEnvironment({ CKPT_STORAGE: '/etc/ckpt.yaml' }).reach)).toEqual([]);
});
