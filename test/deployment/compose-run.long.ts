/**
 * What docker-compose.yml brings up, brought up without Docker: PostgreSQL, the Temporal server on it, an S3 server with its buckets, and
 * the worker with the command and the environment that stand in the file; then `ckpt run examples/s3.yaml` against it.
 *
 * The Temporal server is the one of the images where `node scripts/temporal-test-server.mjs` has built it and PostgreSQL is installed;
 * else the dev server stands in for both, which is said in a line.
 */
import { spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Connection } from '@temporalio/client';
import { findTemporalBinary } from '../../src/app/temporal/binary.ts';
import type { PipelineResult } from '../../src/pipeline/contract.ts';
import { ckpt, CLI } from '../support/cli.ts';
import {
  composeFile,
  here,
  interpolate,
  postgresFolder,
  postgresUser,
  ready,
  runService,
  stop,
  watch,
  type Process,
  type Replacements,
} from '../support/compose.ts';
import { lowPort } from '../support/ports.ts';
import { PROJECT_ROOT } from '../support/project.ts';
import { S3_SETUP_TIMEOUT } from '../support/s3-server.ts';

const { services, configs } = composeFile();
const VERSION = /:(\d+\.\d+\.\d+)$/.exec(services['temporal']!.image)![1]!;
const built = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'checkpoint-pipeline', `temporal-server-${VERSION}`);
const postgres = postgresFolder();
const real = postgres !== null && existsSync(join(built, 'temporal-server'));
process.stderr.write(
  real
    ? `compose: Temporal server ${VERSION} on PostgreSQL (${postgres})\n`
    : `compose: no PostgreSQL and Temporal server ${VERSION} here (scripts/temporal-test-server.mjs builds it); the dev server stands in\n`,
);

let folder: string;
const processes: Process[] = [];
let replacements: Replacements;
let worker: Process;

/** What the image has as its entrypoint. */
const ckptProgram = [process.execPath, CLI];

const keep = (process: Process): Process => {
  processes.push(process);
  return process;
};
const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    const end = (found: boolean) => (): void => {
      socket.destroy();
      resolve(found);
    };
    socket.once('connect', end(true)).once('error', end(false));
  });

async function startPostgres(port: number): Promise<void> {
  const data = join(folder, 'database');
  const user = postgresUser();
  mkdirSync(data, { mode: 0o700 });
  if (user !== null) chownSync(data, user.uid, user.gid);
  const { environment = {} } = services['postgresql']!;
  const secret = join(data, 'secret');
  await writeFile(secret, interpolate(environment['POSTGRES_PASSWORD']!));
  if (user !== null) chownSync(secret, user.uid, user.gid);
  const cluster = join(data, 'cluster');
  const made = spawnSync(
    join(postgres!, 'initdb'),
    ['-D', cluster, '-U', environment['POSTGRES_USER']!, '--pwfile', secret, '-A', 'scram-sha-256', '--no-sync'],
    { ...user, encoding: 'utf8', cwd: data },
  );
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`);
  const args = ['-D', cluster, '-p', `${port}`, '-c', 'listen_addresses=127.0.0.1', '-k', data];
  const server = keep(watch(spawn(join(postgres!, 'postgres'), args, { ...user, cwd: data, stdio: ['ignore', 'pipe', 'pipe'] })));
  await ready(server, () => server.said().includes('ready to accept connections'));
}

/** The services that end by themselves must end well. */
async function oneShot(name: string, options: Omit<Parameters<typeof runService>[1], 'replacements'>): Promise<void> {
  const process = keep(runService(services[name]!, { ...options, replacements }));
  const code = await process.ended;
  if (code !== 0) throw new Error(`${name} ended with ${code}: ${process.said()}`);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-compose-'));
  // PostgreSQL may run as another user.
  await chmod(folder, 0o755);
  const names = ['temporal', 'database', 's3', 'health', 'metrics', ...Array.from({ length: 8 }, (_, index) => `other${index}`)];
  const ports = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await lowPort()] as const))) as Record<
    string,
    number
  >;
  const temporal = await findTemporalBinary({ log: () => undefined });
  const path = [built, dirname(temporal)];
  replacements = {
    'http://s3:7070': `http://127.0.0.1:${ports['s3']}`,
    'temporal:7233': `127.0.0.1:${ports['temporal']}`,
    ':7070': `127.0.0.1:${ports['s3']}`,
    '0.0.0.0:8081': `127.0.0.1:${ports['health']}`,
    '0.0.0.0:9464': `127.0.0.1:${ports['metrics']}`,
    '/objects': join(folder, 'objects'),
    '/example.ckpt': join(PROJECT_ROOT, 'examples', 'lightning-trained.ckpt'),
    '/etc/ckpt/storage.yaml': join(folder, 'storage.yaml'),
    '/etc/temporal/ckpt-dynamic-config.yaml': join(folder, 'temporal.yaml'),
  };
  for (const [name, { content }] of Object.entries(configs)) await writeFile(join(folder, `${name}.yaml`), here(content, replacements));

  const database = {
    SQL_HOST: '127.0.0.1',
    SQL_PORT: `${ports['database']}`,
    POSTGRES_SEEDS: '127.0.0.1',
    DB_PORT: `${ports['database']}`,
  };
  if (real) {
    await startPostgres(ports['database']!);
    await oneShot('temporal-schema', { program: [], cwd: folder, path, env: database });
    const roles = [
      'FRONTEND_HTTP',
      'FRONTEND_MEMBERSHIP',
      'HISTORY_GRPC',
      'HISTORY_MEMBERSHIP',
      'MATCHING_GRPC',
      'MATCHING_MEMBERSHIP',
      'WORKER_GRPC',
      'WORKER_MEMBERSHIP',
    ];
    const others = Object.fromEntries(roles.map((role, index) => [`${role}_PORT`, `${ports[`other${index}`]}`]));
    const server = keep(
      runService(services['temporal']!, {
        replacements,
        // What the image starts.
        program: [join(built, 'temporal-server'), '--allow-no-auth', 'start'],
        cwd: folder,
        env: { ...database, ...others, FRONTEND_GRPC_PORT: `${ports['temporal']}`, BIND_ON_IP: '127.0.0.1' },
      }),
    );
    await ready(server, () => listens(ports['temporal']!));
  } else {
    const args = ['server', 'start-dev', '--ip', '127.0.0.1', '--port', `${ports['temporal']}`, '--headless', '--log-level', 'error'];
    const server = keep(watch(spawn(temporal, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })));
    await ready(server, () => listens(ports['temporal']!));
  }
  // As `restart: on-failure:10` does it.
  for (let attempt = 1; ; attempt++) {
    const failure = await oneShot('temporal-namespace', { program: [], cwd: folder, path }).then(
      () => null,
      (error: unknown) => error,
    );
    if (failure === null) break;
    const dead = processes.find(({ child }) => ![null, 0].includes(child.exitCode) && child.spawnfile.endsWith('temporal-server'));
    if (dead !== undefined) throw new Error(`the Temporal server ended: ${dead.said()}`);
    if (attempt === 10) throw failure;
    await sleep(attempt * 500);
  }

  const found = spawnSync(process.execPath, [join(PROJECT_ROOT, 'scripts', 's3-test-server.mjs')], { encoding: 'utf8' });
  const { command, kind } = JSON.parse(found.stdout) as { command: string; kind: string };
  expect(kind).toBe('versitygw');
  mkdirSync(join(folder, 'objects'));
  const s3 = keep(runService(services['s3']!, { replacements, program: [command], cwd: folder }));
  const health = here(services['s3']!.healthcheck!.test.at(-1)!.replace('127.0.0.1:7070', 's3:7070'), replacements);
  await ready(s3, () =>
    fetch(health).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
  // Its working folder is that of the image's packages.
  await oneShot('s3-buckets', { program: [], cwd: PROJECT_ROOT });
  await oneShot('setup', { program: ckptProgram, cwd: folder });

  worker = keep(runService(services['worker']!, { replacements, program: ckptProgram, cwd: folder }));
  await ready(worker, () => worker.said().includes('Worker polls'));
}, S3_SETUP_TIMEOUT);

afterAll(async () => {
  for (const process of processes.reverse()) await stop(process);
  await rm(folder, { recursive: true, force: true });
}, 120_000);

test('`ckpt run examples/s3.yaml` works, and what it published lies in the store', async () => {
  const address = here('temporal:7233', replacements);
  const place = { cwd: folder, env: { TEMPORAL_ADDRESS: address } };
  const { code, stdout, stderr } = await ckpt(['run', join(PROJECT_ROOT, 'examples', 's3.yaml'), '--json'], place).ended;
  expect([code, code === 0 ? '' : stdout + stderr]).toEqual([0, '']);
  const { outputs, stages } = JSON.parse(stdout) as PipelineResult;
  // The server has the search attributes.
  expect(stderr).not.toContain('cannot be found by');
  expect(stages.map(({ status }) => status)).toEqual(['completed', 'completed', 'completed']);
  expect(outputs[0]).toMatchObject({ uri: 's3://models/lightning-trained.safetensors', tensors: 5, unchanged: false });

  const { environment = {} } = services['worker']!;
  const client = new S3Client({
    endpoint: here('http://s3:7070', replacements),
    region: environment['AWS_REGION']!,
    forcePathStyle: true,
    credentials: {
      accessKeyId: interpolate(environment['AWS_ACCESS_KEY_ID']!),
      secretAccessKey: interpolate(environment['AWS_SECRET_ACCESS_KEY']!),
    },
  });
  const { Body: body } = await client.send(new GetObjectCommand({ Bucket: 'models', Key: 'lightning-trained.safetensors' }));
  expect((await body!.transformToByteArray()).length).toBe(outputs[0]!.size);
  client.destroy();
  // Once more: the store holds it already.
  const again = await ckpt(['run', join(PROJECT_ROOT, 'examples', 's3.yaml'), '--json'], place).ended;
  expect((JSON.parse(again.stdout) as PipelineResult).status).toBe('unchanged');
}, 180_000);

test('the server is the one of the images, on PostgreSQL', async () => {
  const connection = await Connection.connect({ address: here('temporal:7233', replacements) });
  const { serverVersion } = await connection.workflowService.getSystemInfo({});
  const { persistenceStore } = await connection.workflowService.getClusterInfo({});
  await connection.close();
  expect(serverVersion).toBe(VERSION);
  expect(persistenceStore).toBe(real ? 'postgres12' : 'sqlite');
});

test('the image’s health check holds while the worker works, and it ends with 0', async () => {
  const check = /HEALTHCHECK .*CMD (\[.*\])/.exec(readFileSync(join(PROJECT_ROOT, 'Dockerfile'), 'utf8'))![1]!;
  const [program, ...args] = JSON.parse(check) as string[];
  expect(program).toBe('ckpt');
  const env = Object.fromEntries(
    Object.entries(services['worker']!.environment ?? {}).map(([name, value]) => [name, here(value, replacements)]),
  );
  expect(await ckpt(args, { cwd: folder, env }).ended).toMatchObject({ code: 0, stderr: '' });
  const metrics = await (await fetch(`http://${here('0.0.0.0:9464', replacements)}/metrics`)).text();
  expect(metrics).toContain('ckpt_checkpoints_total{');
  worker.child.kill('SIGTERM');
  expect(await worker.ended).toBe(0);
  expect((await ckpt(args, { cwd: folder, env }).ended).code).toBe(1);
}, 120_000);
