/** Several workers of one server: transfers apart from light work, hand-over at shutdown, health, metrics, traces, versions. */
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import protobuf from 'protobufjs';
import { CheckpointClient } from '../../src/app/client.ts';
import type { StartedRun } from '../../src/app/start.ts';
import { PIPELINE_WORKFLOW, TRANSFER_QUEUE, type PipelineInput } from '../../src/pipeline/contract.ts';
import { ckpt, type Place, type Running } from '../support/cli.ts';
import { writeLargeSafetensors } from '../support/large-file.ts';
import { partialSize } from '../support/partial.ts';
import { freePort } from '../support/ports.ts';
import { compiled, fixture } from '../support/project.ts';
import { devServer } from '../support/temporal.ts';

/** A bound against hangs. */
const LONG = 300_000;

let environment: TestWorkflowEnvironment;
let client: CheckpointClient;
let folder: string;
let place: Place;
let plugin: string;
const running: Running[] = [];

beforeAll(async () => {
  environment = await devServer();
  client = new CheckpointClient({ client: environment.client });
}, LONG);
afterAll(() => environment?.teardown());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-scale-'));
  await mkdir(join(folder, 'held'));
  place = { cwd: folder, env: { TEMPORAL_ADDRESS: environment.address, CKPT_WORKSPACE: join(folder, 'workspace') } };
  plugin = join(folder, 'held.mjs');
  await writeFile(plugin, HELD);
});
afterEach(async () => {
  for (const one of running.splice(0)) {
    one.process.kill('SIGKILL');
    await one.ended;
  }
  await rm(folder, { recursive: true, force: true });
});

/** A sink that stands for a long transfer: it says which process has it, and ends when it is let go. */
const HELD = `
import { writeFile, access } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineStage, z } from '${compiled('src/plugin.js')}';
export default defineStage({
  type: 'sink.held',
  description: 'a transfer that takes as long as the test wants',
  options: z.strictObject({ name: z.string(), held: z.string() }),
  async run({ context, options: { name, held }, signal }) {
    await writeFile(held + '/' + name, String(process.pid));
    while (await access(held + '/go').then(() => false, () => true)) await sleep(20, undefined, { signal });
    return { context, summary: 'let go' };
  },
});
`;

async function worker(...args: readonly string[]): Promise<Running> {
  const one = ckpt(['worker', ...args], place);
  running.push(one);
  await until(() => one.said().includes('Worker polls'));
  return one;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(20);
}

const run = (name: string, stages: PipelineInput['stages']): Promise<StartedRun> => client.start({ name, stages });
const load: PipelineInput['stages'] = [{ type: 'source.local', path: fixture('good/state_dict.pt') }, { type: 'loader.weights_only' }];
const hold = (name: string): Promise<StartedRun> => run(name, [...load, { type: 'sink.held', name, held: join(folder, 'held') }]);

/** How many activities the server holds back until a worker wants them. */
async function waiting(): Promise<number> {
  const { stats } = await environment.connection.workflowService.describeTaskQueue({
    namespace: 'default',
    taskQueue: { name: TRANSFER_QUEUE },
    taskQueueType: 2,
    reportStats: true,
  });
  return Number(stats?.approximateBacklogCount ?? 0);
}

test(
  'transfers that wait take nothing from light activities, and the next worker gets its share of them',
  async () => {
    const first = await worker('--transfers', '1', '--activities', '2', '--plugins', plugin);
    const held = await Promise.all(Array.from({ length: 8 }, (_, index) => hold(`transfer-${index}`)));
    await until(async () => (await readdir(join(folder, 'held'))).length === 1 && (await waiting()) === 7);
    // Eight transfers are open, more than this worker has slots of any kind: a run without one comes through all the same.
    expect((await client.settled(await run('light', load))).status).toBe('completed');
    expect(await readdir(join(folder, 'held'))).toHaveLength(1);

    const second = await worker('--transfers', '2', '--activities', '0', '--plugins', plugin);
    expect(second.said()).toContain(`Worker polls \`${TRANSFER_QUEUE}\` at`);
    await until(async () => (await readdir(join(folder, 'held'))).length === 3);
    await writeFile(join(folder, 'held', 'go'), '');
    for (const one of held) expect((await client.settled(one)).status).toBe('completed');
    const pids = new Set(await Promise.all(held.map((_, index) => readFile(join(folder, 'held', `transfer-${index}`), 'utf8'))));
    expect(pids).toEqual(new Set([String(first.process.pid), String(second.process.pid)]));
  },
  LONG,
);

test(
  'above its bound of memory a worker takes one activity at a time; below it again, as many as before',
  async () => {
    // What makes the process large is there before it takes anything, and goes when it is told to.
    const ballast = `
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { existsSync } from 'node:fs';
setFlagsFromString('--expose-gc');
let ballast = Buffer.alloc(600 * 2 ** 20, 1);
const look = setInterval(() => {
  if (!existsSync('${join(folder, 'lighten')}')) return;
  clearInterval(look);
  ballast = undefined;
  runInNewContext('gc')();
}, 20);
`;
    await writeFile(plugin, ballast + HELD.replace('sink.held', 'source.held'));
    await worker('--memory', '600MiB', '--plugins', plugin);
    const runs = await Promise.all(
      [0, 1, 2].map((index) => run(`bound-${index}`, [{ type: 'source.held', name: `run-${index}`, held: join(folder, 'held') }])),
    );
    const held = (): Promise<readonly string[]> => readdir(join(folder, 'held'));
    await until(async () => (await held()).length >= 1);
    // Nothing says that an activity is not taken: without the bound the others are there within this time.
    await sleep(1000);
    expect(await held()).toHaveLength(1);
    await writeFile(join(folder, 'lighten'), '');
    await until(async () => (await held()).length === 3);
    await writeFile(join(folder, 'held', 'go'), '');
    for (const one of runs) expect((await client.settled(one)).status).toBe('completed');
  },
  LONG,
);

test(
  'SIGTERM in the middle of a publish: the worker ends by itself, and another goes on from where it was',
  async () => {
    const large = join(folder, 'large.safetensors');
    await writeLargeSafetensors(large, 12, 32);
    const { size } = await stat(large);
    const target = join(folder, 'out', 'weights.safetensors');
    const first = await worker();
    const started = await run('handed-over', [
      { type: 'source.local', path: large },
      { type: 'loader.weights_only' },
      { type: 'sink.publish', uri: target },
    ]);
    const partial = (): Promise<number | null> => partialSize(join(folder, 'out'));
    await until(async () => ((await partial()) ?? 0) > 48 * 2 ** 20);
    first.process.kill('SIGTERM');
    // 0: nothing had to be torn away after the ten seconds that it is given.
    expect((await first.ended).code).toBe(0);
    expect(await partial()).not.toBeNull();
    const reported = (await client.transfer(started))?.offset ?? 0;
    expect(reported).toBeGreaterThan(0);

    const port = await freePort();
    await worker('--metrics-port', String(port));
    const result = await client.settled(started);
    expect(result.error).toBeNull();
    expect(result.stages.at(-1)).toMatchObject({ type: 'sink.publish', status: 'completed', attempts: 2 });
    const published = await readFile(target);
    expect(published.length).toBe(size);
    expect(published.equals(await readFile(large))).toBe(true);
    expect((await readdir(join(folder, 'out'))).filter((name) => name.endsWith('.partial'))).toEqual([]);
    // The second worker wrote the rest and no more.
    expect(await metric(port, 'ckpt_transferred_bytes_total')).toBe(size - reported);
  },
  LONG,
);

async function metric(port: number, name: string, ...labels: readonly string[]): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

test(
  'health and metrics: ready while it works, runs by status, failures by code, sizes in buckets for bytes',
  async () => {
    const [health, metrics] = [await freePort(), await freePort()];
    const one = await worker('--health-port', String(health), '--metrics-port', String(metrics), '--memory', '1GiB');
    const ready = async () => {
      const answer = await fetch(`http://127.0.0.1:${health}/readyz`);
      return { status: answer.status, body: (await answer.json()) as { status: string; queues: { task_queue: string; state: string }[] } };
    };
    expect(await ready()).toEqual({
      status: 200,
      body: {
        status: 'ok',
        reasons: [],
        queues: ['checkpoints', TRANSFER_QUEUE].map((queue) => ({ task_queue: queue, state: 'RUNNING', activities: 0 })),
      },
    });
    expect((await ckpt(['worker', '--check', '--health-port', String(health)], place).ended).code).toBe(0);

    const publish = (path: string) =>
      run('counted', [
        { type: 'source.local', path },
        { type: 'loader.weights_only' },
        { type: 'sink.publish', uri: join(folder, 'small.safetensors') },
      ]);
    const done = await client.settled(await publish(fixture('good/state_dict.pt')));
    await client.settled(await publish(fixture('good/state_dict.pt')));
    await client.settled(await publish(join(folder, 'nowhere.pt')));
    await until(async () => (await metric(metrics, 'ckpt_failures_total')) === 1);
    const count = (...labels: readonly string[]) => metric(metrics, 'ckpt_checkpoints_total', ...labels);
    expect([await count('status="completed"'), await count('status="unchanged"'), await count('status="failed"')]).toEqual([1, 1, 1]);
    expect(await metric(metrics, 'ckpt_failures_total', 'code="CheckpointNotFoundError"')).toBe(1);
    const { size } = done.outputs[0]!;
    expect(await metric(metrics, 'ckpt_transferred_bytes_total')).toBe(size);
    expect(await metric(metrics, 'ckpt_output_bytes_sum')).toBe(size);
    expect(await metric(metrics, 'ckpt_output_bytes_bucket', 'le="1048576"')).toBe(1);
    expect(await metric(metrics, 'temporal_worker_task_slots_available', 'ActivityWorker')).toBeGreaterThan(0);

    one.process.kill('SIGTERM');
    expect(await one.ended).toMatchObject({ code: 0, stdout: '' });
    const { code, stderr } = await ckpt(['worker', '--check', '--health-port', String(health)], place).ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^CheckpointError: No worker answers at http:\/\/127\.0\.0\.1:\d+\/readyz: .*ECONNREFUSED/);
  },
  LONG,
);

test('a port that is taken is the configuration’s fault, and says so', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as { port: number };
  for (const option of ['--health-port', '--metrics-port']) {
    const { code, stderr } = await ckpt(['worker', option, String(port)], place).ended;
    expect([option, code, stderr]).toEqual([option, 2, expect.stringContaining(String(port))]);
  }
  taken.close();
});

interface Span {
  readonly name: string;
  readonly trace: string;
  readonly service: string;
}

/** Takes what an OTLP exporter sends over HTTP. */
async function collector(): Promise<{ readonly server: Server; readonly endpoint: string; readonly spans: Span[] }> {
  const { root } = protobuf.parse(`
    syntax = "proto3";
    message Value { string string_value = 1; }
    message Attribute { string key = 1; Value value = 2; }
    message Resource { repeated Attribute attributes = 1; }
    message Span { bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; }
    message Scope { repeated Span spans = 2; }
    message ResourceSpans { Resource resource = 1; repeated Scope scope_spans = 2; }
    message Request { repeated ResourceSpans resource_spans = 1; }`);
  const type = root.lookupType('Request');
  const spans: Span[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      // As the schema above says.
      const { resourceSpans } = type.decode(Buffer.concat(chunks)) as unknown as {
        resourceSpans: {
          resource: { attributes: { key: string; value: { stringValue: string } }[] };
          scopeSpans: { spans: { name: string; traceId: Uint8Array }[] }[];
        }[];
      };
      for (const { resource, scopeSpans } of resourceSpans)
        for (const span of scopeSpans.flatMap((scope) => scope.spans))
          spans.push({
            name: span.name,
            trace: Buffer.from(span.traceId).toString('hex'),
            service: resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue ?? '',
          });
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, endpoint: `http://127.0.0.1:${(server.address() as { port: number }).port}`, spans };
}

test(
  'traces: a run is one trace, from its workflow to its activities on both queues',
  async () => {
    const { server, endpoint, spans } = await collector();
    place = { ...place, env: { ...place.env, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SERVICE_NAME: 'night-shift' } };
    const one = await worker();
    const started = await run('traced', [...load, { type: 'sink.publish', uri: join(folder, 'traced.safetensors') }]);
    expect((await client.settled(started)).status).toBe('completed');
    one.process.kill('SIGTERM');
    // What had not been sent yet is sent now.
    expect(await one.ended).toMatchObject({ code: 0, stdout: '' });
    server.close();
    const names = spans.map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining([`RunWorkflow:${PIPELINE_WORKFLOW}`, 'RunActivity:source.local', 'RunActivity:sink.publish']),
    );
    expect(new Set(spans.map(({ trace }) => trace)).size).toBe(1);
    expect(new Set(spans.map(({ service }) => service))).toEqual(new Set(['night-shift']));
  },
  LONG,
);

test(
  'a worker of a deployment works once its version is current, on both queues',
  async () => {
    const deploymentName = `ckpt-${randomUUID().slice(0, 8)}`;
    await worker('--deployment', deploymentName, '--build-id', '1.0');
    const { workflowService } = environment.connection;
    // The server learns of a version with its worker's first polls.
    await until(() =>
      workflowService.setWorkerDeploymentCurrentVersion({ namespace: 'default', deploymentName, buildId: '1.0', identity: 'test' }).then(
        () => true,
        () => false,
      ),
    );
    const started = await run('versioned', [...load, { type: 'sink.publish', uri: join(folder, 'versioned.safetensors') }]);
    expect((await client.settled(started)).status).toBe('completed');
    const { raw } = await environment.client.workflow.getHandle(started.workflowId).describe();
    expect(raw.workflowExecutionInfo?.versioningInfo?.deploymentVersion).toMatchObject({ deploymentName, buildId: '1.0' });
  },
  LONG,
);
