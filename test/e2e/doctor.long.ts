/** `ckpt doctor` on real servers: one finding for each thing, what to do where it is wrong, and no credential anywhere. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Finding } from '../../src/app/doctor/finding.ts';
import { ckpt, type Place } from '../support/cli.ts';
import { S3_SETUP_TIMEOUT, startS3Server, type S3TestServer } from '../support/s3-server.ts';
import { devServer } from '../support/temporal.ts';

let environment: TestWorkflowEnvironment;
let s3: S3TestServer;
let folder: string;
let bucket: string;

beforeAll(async () => {
  environment = await devServer();
  s3 = await startS3Server();
  bucket = await s3.bucket();
  folder = await mkdtemp(join(tmpdir(), 'ckpt-doctor-'));
}, S3_SETUP_TIMEOUT);
afterAll(async () => {
  await environment?.teardown();
  await s3?.close();
  await rm(folder, { recursive: true, force: true });
});

const place = (env: Readonly<Record<string, string>> = {}): Place => ({
  cwd: folder,
  env: { XDG_STATE_HOME: join(folder, 'state'), XDG_CACHE_HOME: join(folder, 'cache'), ...env },
});

async function findings(where: Place, ...args: readonly string[]) {
  const { code, stdout, stderr } = await ckpt(['doctor', ...args, '--json'], where).ended;
  expect(stderr).toBe('');
  const { status, findings: found } = JSON.parse(stdout) as { status: string; findings: Finding[] };
  return { code, status, of: (check: string) => found.filter((one) => one.check === check) };
}

test('with nothing set up: all is said to be well, for people and for programs', async () => {
  const { code, stdout } = await ckpt(['doctor'], place()).ended;
  expect(code).toBe(0);
  expect(stdout).toMatch(/^✔ node {7}Node \d/);
  expect(stdout).toMatch(/workspace {2}.*state\/checkpoint-pipeline\/workspace: .* free/);
  expect(stdout).toMatch(/server {5}none configured/);
  expect(stdout).toMatch(/· store {6}not looked at.*\n.*`ckpt doctor s3:/);
});

test('a configured server: version, namespace, attributes, clock, workers; `ckpt setup` and a worker mend what was amiss', async () => {
  const where = place({ TEMPORAL_ADDRESS: environment.address });
  const before = await findings(where);
  expect(before.code).toBe(0);
  expect(before.of('server')).toEqual([
    { check: 'server', status: 'ok', message: expect.stringMatching(/^Temporal 1\.\d+\.\d+ at .* \(configured\)$/), advice: null },
  ]);
  expect(before.of('search attributes')[0]).toMatchObject({ status: 'warning', advice: '`ckpt setup` registers them.' });
  expect(before.of('workers')[0]).toMatchObject({ status: 'warning', message: 'nobody polls `checkpoints`' });
  expect(before.of('clock')).toEqual([{ check: 'clock', status: 'ok', message: 'agrees with the Temporal server', advice: null }]);

  expect((await ckpt(['setup'], where).ended).code).toBe(0);
  const light = ckpt(['worker', '--transfers', '0'], where);
  while (!light.said().includes('Worker polls')) await sleep(20);
  let half = await findings(where);
  while (half.of('workers')[0]!.message === 'nobody polls `checkpoints`') half = await findings(where);
  // The worker of `ckpt dev` looks the same from here.
  expect(half.code).toBe(0);
  expect(half.of('workers')[0]).toMatchObject({ status: 'warning', advice: expect.stringContaining('those of `ckpt dev`') });
  const heavy = ckpt(['worker', '--activities', '0'], where);
  while (!heavy.said().includes('Worker polls')) await sleep(20);
  let after = await findings(where);
  while (after.of('workers')[0]!.status !== 'ok') after = await findings(where);
  expect(after.status).toBe('ok');
  expect(after.of('search attributes')[0]!.status).toBe('ok');
  for (const worker of [light, heavy]) {
    worker.process.kill('SIGTERM');
    await worker.ended;
  }
}, 180_000);

test('a worker of a version that is not current polls in vain: it says so, and so do the check, the doctor and a run that waits', async () => {
  // Where the server remembers no other worker.
  const namespace = 'versions';
  const workflowExecutionRetentionPeriod = { seconds: 86_400 } as object;
  await environment.connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod });
  const where = place({ TEMPORAL_ADDRESS: environment.address, TEMPORAL_NAMESPACE: namespace, CKPT_WORKSPACE: join(folder, 'versions') });
  const command = 'set-current-version --yes --deployment-name ckpt --build-id v2';
  const worker = ckpt(['worker', '--deployment', 'ckpt', '--build-id', 'v2'], where);
  while (!worker.said().includes('No new runs come here yet')) await sleep(20);
  expect(worker.said()).toContain(command);
  let found = await findings(where);
  while (found.of('workers')[0]!.message.startsWith('nobody polls')) found = await findings(where);
  expect(found.of('workers')[0]).toMatchObject({ status: 'warning', advice: expect.stringContaining(command) });
  expect(await ckpt(['worker', '--check'], where).ended).toMatchObject({ code: 0, stderr: expect.stringContaining(command) });
  await writeFile(join(folder, 'version.yaml'), 'stages: [{type: source.local, path: nothing.pt}]\n');
  const run = ckpt(['run', 'version.yaml', '--id', 'version'], where);
  while (!run.said().includes(command)) await sleep(20);
  run.process.kill('SIGKILL');
  worker.process.kill('SIGTERM');
  await Promise.all([run.ended, worker.ended]);
}, 120_000);

test('a server that is not there, a namespace that is not, folders that cannot be written: exit 1, and what to do', async () => {
  await writeFile(join(folder, 'file'), '');
  const nobody = await findings(
    place({ TEMPORAL_ADDRESS: '127.0.0.1:9', XDG_STATE_HOME: join(folder, 'file'), CKPT_WORKSPACE: join(folder, 'workspace') }),
  );
  expect(nobody.code).toBe(1);
  expect(nobody.of('server')[0]).toMatchObject({ status: 'problem', message: expect.stringContaining('TEMPORAL_ADDRESS') });
  expect(nobody.of('state')[0]).toMatchObject({ status: 'problem', advice: expect.stringContaining('XDG_STATE_HOME') });
  expect(nobody.of('workspace')[0]!.status).toBe('ok');
  const elsewhere = await findings(place({ TEMPORAL_ADDRESS: environment.address, TEMPORAL_NAMESPACE: 'nowhere' }));
  expect(elsewhere.code).toBe(1);
  expect(elsewhere.of('namespace')[0]).toMatchObject({
    status: 'problem',
    advice: expect.stringContaining('temporal operator namespace create -n nowhere'),
  });
});

test('stores: a bucket that is there, one that is not, credentials that are refused, a clock far off; no credential is shown', async () => {
  const settings = join(folder, 'storage.yaml');
  await writeFile(settings, `s3:\n  - buckets: [${bucket}, no-such-bucket, lab-*]\n    endpoint: ${s3.endpoint}\n`);
  const { AWS_ENDPOINT_URL_S3: _, ...credentials } = s3.env;
  const good = await findings(place(credentials), '--storage', settings);
  expect(good.code).toBe(1);
  const [there, missing, pattern] = good.of('store');
  expect(there).toMatchObject({ status: 'ok', message: expect.stringContaining(`s3://${bucket} (${s3.endpoint})`) });
  expect(missing).toMatchObject({ status: 'problem', message: expect.stringContaining('There is no bucket no-such-bucket') });
  expect(pattern).toMatchObject({ status: 'note', message: expect.stringContaining('lab-*') });
  expect(good.of('clock')).toEqual([{ check: 'clock', status: 'ok', message: `agrees with ${s3.endpoint}`, advice: null }]);

  const secret = randomBytes(20).toString('hex');
  const wrong = place({ ...s3.env, AWS_SECRET_ACCESS_KEY: secret, CKPT_WORKSPACE: `s3://${bucket}/workspace` });
  const refused = await ckpt(['doctor', '--json'], wrong).ended;
  expect(refused.code).toBe(1);
  expect(refused.stdout).toContain('the store refuses reading with 403');
  expect(refused.stdout + refused.stderr).not.toContain(secret);

  const late = createServer((_request, response) => {
    response.writeHead(403, { date: new Date(Date.now() + 3_600_000).toUTCString() }).end();
  });
  await new Promise<void>((resolve) => late.listen(0, '127.0.0.1', resolve));
  const { port } = late.address() as { port: number };
  const skewed = await findings(place({ ...s3.env, AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}` }), 's3://models/');
  late.close();
  expect(skewed.code).toBe(1);
  expect(skewed.of('clock')[0]).toMatchObject({ status: 'problem', message: expect.stringContaining('60 min behind') });
}, 120_000);
