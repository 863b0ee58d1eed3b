/** The image and the compose file, as far as they can be judged without a registry of images. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { PROJECT_ROOT } from '../support/project.ts';

const read = (name: string): string => readFileSync(join(PROJECT_ROOT, name), 'utf8');
/** A full version, with or without a variant: no image may change under us. */
const EXACT = /^[\w./-]+:\d+\.\d+(\.\d+)?(-\w+)*$/;

interface Service {
  readonly image: string;
  readonly build?: string;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly healthcheck?: unknown;
}

const compose = (): { services: Readonly<Record<string, Service>>; volumes: object; configs: object } =>
  parse(read('docker-compose.yml'), { merge: true }) as ReturnType<typeof compose>;

const hasCompose = spawnSync('docker', ['compose', 'version']).status === 0;
if (!hasCompose) process.stderr.write('skipped: no `docker compose` here; the compose file is checked by its text alone\n');

(hasCompose ? test : test.skip)('docker compose accepts the file', () => {
  const { status, stderr } = spawnSync('docker', ['compose', '-f', join(PROJECT_ROOT, 'docker-compose.yml'), 'config', '--quiet'], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  expect(status).toBe(0);
});

test('compose brings up Temporal on PostgreSQL, its UI and a worker, in order and with exact versions', () => {
  const { services, volumes, configs } = compose();
  expect(Object.keys(services)).toEqual(['postgresql', 'temporal-schema', 'temporal', 'temporal-namespace', 'temporal-ui', 'worker']);
  for (const { image } of Object.values(services)) expect(image).toMatch(EXACT);
  for (const service of Object.values(services))
    for (const [name, { condition }] of Object.entries(service.depends_on ?? {})) {
      expect(Object.keys(services)).toContain(name);
      expect(['service_healthy', 'service_completed_successfully']).toContain(condition);
      if (condition === 'service_healthy') expect(services[name]!.healthcheck).toBeDefined();
    }
  const { version } = JSON.parse(read('package.json')) as { version: string };
  expect(services['worker']).toMatchObject({ build: '.', image: `checkpoint-pipeline:${version}` });
  expect(services['worker']!.environment).toMatchObject({ TEMPORAL_ADDRESS: 'temporal:7233' });
  expect(services['temporal']!.environment).toMatchObject({ DB: 'postgres12', POSTGRES_SEEDS: 'postgresql' });
  const named = Object.values(services).flatMap((service) => (service.volumes ?? []).filter((volume) => /^\w+:/.test(volume)));
  expect(named.map((volume) => volume.split(':')[0]).sort()).toEqual(Object.keys(volumes).sort());
  expect(Object.keys(configs)).toEqual(['temporal']);
});

test('nothing of it is open to other machines', () => {
  for (const { ports = [] } of Object.values(compose().services)) for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
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
