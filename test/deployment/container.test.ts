/** The image and the compose file, as far as they can be judged without a registry of images. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { composeFile, interpolate } from '../support/compose.ts';
import { PROJECT_ROOT } from '../support/project.ts';

const read = (name: string): string => readFileSync(join(PROJECT_ROOT, name), 'utf8');
/** A full version, with or without a variant: no image may change under us. */
const EXACT = /^[\w./-]+:v?\d+\.\d+(\.\d+)?(-\w+)*$/;

test('compose brings up Temporal on PostgreSQL, its UI, an S3 server and a worker, in order and with exact versions', () => {
  const { services, volumes, configs } = composeFile();
  expect(Object.keys(services)).toEqual([
    'postgresql',
    'temporal-schema',
    'temporal',
    'temporal-namespace',
    'setup',
    'temporal-ui',
    's3',
    's3-buckets',
    'worker',
  ]);
  for (const { image } of Object.values(services)) expect(image).toMatch(EXACT);
  for (const service of Object.values(services))
    for (const [name, { condition }] of Object.entries(service.depends_on ?? {})) {
      expect(Object.keys(services)).toContain(name);
      expect(['service_healthy', 'service_completed_successfully']).toContain(condition);
      if (condition === 'service_healthy') expect(services[name]!.healthcheck).toBeDefined();
    }
  const { version } = JSON.parse(read('package.json')) as { version: string };
  expect(services['worker']).toMatchObject({ build: '.', image: `checkpoint-pipeline:${version}` });
  expect(services['worker']!.environment).toMatchObject({ TEMPORAL_ADDRESS: 'temporal:7233', CKPT_WORKSPACE: 's3://workspace/ckpt' });
  // The ones that run the same image build it, too: else compose would look for it in a registry.
  for (const { image, build } of Object.values(services)) expect(build).toBe(image.startsWith('checkpoint-pipeline:') ? '.' : undefined);
  expect(services['temporal']!.environment).toMatchObject({ DB: 'postgres12', POSTGRES_SEEDS: 'postgresql' });
  const named = Object.values(services).flatMap((service) => (service.volumes ?? []).filter((volume) => /^\w+:/.test(volume)));
  expect(named.map((volume) => volume.split(':')[0]).sort()).toEqual(Object.keys(volumes).sort());
  expect(Object.keys(configs)).toEqual(['temporal', 'storage']);
  for (const { configs: used = [] } of Object.values(services))
    for (const { source } of used) expect(Object.keys(configs)).toContain(source);
  // Every variable has a default, and what is kept lies in a volume.
  const text = read('docker-compose.yml');
  expect(interpolate(text)).not.toMatch(/\$\{/);
  expect(text.match(/\$\{\w+[^:\w]/g)).toBeNull();
});

test('nothing of it is open to other machines', () => {
  for (const { ports = [] } of Object.values(composeFile().services)) for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
});

/** Instructions with their continued lines joined. */
function instructions(): readonly { readonly name: string; readonly rest: string }[] {
  return read('Dockerfile')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => /^[A-Z]+ /.test(line))
    .map((line) => ({ name: line.split(' ')[0]!, rest: line.slice(line.indexOf(' ') + 1) }));
}

test('the image: exact base, several stages, production dependencies, not root, a health check', () => {
  const all = instructions();
  const stages = all.filter(({ name }) => name === 'FROM');
  const last = all.slice(all.lastIndexOf(stages.at(-1)!));
  expect(stages.length).toBeGreaterThan(1);
  expect(stages.every(({ rest }) => rest.startsWith('${NODE_IMAGE}'))).toBe(true);
  expect(all.find(({ name }) => name === 'ARG')!.rest.replace('NODE_IMAGE=', '')).toMatch(/^node:24\.\d+\.\d+-bookworm-slim$/);
  expect(all.filter(({ rest }) => rest.includes('npm install')).every(({ rest }) => rest.includes('--omit=dev'))).toBe(true);
  expect(last.find(({ name }) => name === 'USER')?.rest).toBe('node');
  expect(last.find(({ name }) => name === 'HEALTHCHECK')?.rest).toContain('"worker", "--check"');
  expect(last.findIndex(({ name }) => name === 'USER')).toBeLessThan(last.findIndex(({ name }) => name === 'ENTRYPOINT'));
});

test('what the image copies is there, and .dockerignore lets it through', () => {
  const allowed = read('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1));
  const copied = instructions()
    .filter(({ name, rest }) => name === 'COPY' && !rest.startsWith('--from'))
    .flatMap(({ rest }) => rest.split(' ').slice(0, -1));
  expect(copied.filter((name) => !existsSync(join(PROJECT_ROOT, name)))).toEqual([]);
  expect([...new Set(copied)].sort()).toEqual([...allowed].sort());
});

test('the Temporal server that the tests build is the one of the images', async () => {
  expect(read('scripts/temporal-test-server.mjs')).toContain(
    `TEMPORAL_SERVER = '${/:(.+)$/.exec(composeFile().services['temporal']!.image)![1]}'`,
  );
});

test('the image drops the native parts of other platforms, and what only developers read', () => {
  const all = instructions().filter(({ name }) => name === 'RUN');
  expect(all.some(({ rest }) => rest.includes('core-bridge/releases') && rest.includes('$(uname -m)-unknown-linux-gnu'))).toBe(true);
  // Their names are those of the SDK.
  expect(existsSync(join(PROJECT_ROOT, 'node_modules/@temporalio/core-bridge/releases/x86_64-unknown-linux-gnu/index.node'))).toBe(true);
});
