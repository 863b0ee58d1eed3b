/** What goes wrong around a run: killed workers, Ctrl-C, two runs with one id, full and read-only disks. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { CheckpointClient } from '../../src/app/client.ts';
import { runningServer } from '../../src/app/temporal/dev-server/server-record.ts';
import type { BatchResult } from '../../src/pipeline/batch.ts';
import type { PipelineInput, PipelineResult } from '../../src/pipeline/contract.ts';
import { ckpt, type Place, type Running } from '../support/cli.ts';
import { startHoldingServer, type HoldingServer } from '../support/holding-server.ts';
import { writeLargeSafetensors } from '../support/large-file.ts';
import { partialSize } from '../support/partial.ts';
import { fixture } from '../support/project.ts';
import { inSmallDisk, smallDisks } from '../support/small-disk.ts';
import { devServer } from '../support/temporal.ts';

/** Generous: a killed worker is missed after 10 seconds, and machines are slow. */
const LONG = 300_000;

let environment: TestWorkflowEnvironment;
let shared: string;
let large: string;
let folder: string;
let place: Place;
const running: Running[] = [];

beforeAll(async () => {
  environment = await devServer();
  shared = await mkdtemp(join(tmpdir(), 'ckpt-faults-'));
  large = join(shared, 'large.safetensors');
  await writeLargeSafetensors(large, 16, 32);
}, LONG);
afterAll(async () => {
  await environment?.teardown();
  await rm(shared, { recursive: true, force: true });
});
beforeEach(async () => {
  folder = await mkdtemp(join(shared, 'test-'));
  await mkdir(join(folder, 'out'));
  place = { cwd: folder, env: { TEMPORAL_ADDRESS: environment.address, CKPT_WORKSPACE: join(folder, 'workspace') } };
});
afterEach(async () => {
  for (const one of running.splice(0)) {
    one.process.kill('SIGKILL');
    await one.ended;
  }
  const embedded = await runningServer(join(folder, 'state', 'checkpoint-pipeline'));
  if (embedded !== null) process.kill(embedded.pid, 'SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

function launch(args: readonly string[], where: Place = place): Running {
  const one = ckpt(args, where);
  running.push(one);
  return one;
}

async function worker(...options: readonly string[]): Promise<Running> {
  const one = launch(['worker', ...options], { ...place, env: { ...place.env, CKPT_ALLOW_PRIVATE_ADDRESSES: '1' } });
  await until(() => one.said().includes('Worker polls'));
  return one;
}

/** The embedded server of this test alone. */
const embedded = (): Place => ({
  cwd: folder,
  env: { XDG_STATE_HOME: join(folder, 'state'), CKPT_WORKSPACE: join(folder, 'workspace') },
});

const stages = (source: string, target: string, more: object = {}): PipelineInput => ({
  stages: [
    source.includes('://') ? { type: 'source.http', url: source } : { type: 'source.local', path: source },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri: target, ...more },
  ],
});

async function document(source: string, target: string, more: object = {}): Promise<string> {
  const path = join(folder, 'pipeline.json');
  await writeFile(path, JSON.stringify({ name: 'faults', ...stages(source, target, more) }));
  return path;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(2);
}

/** Waits until a publish has written that much of a file that is not there yet. */
async function midway(bytes: number): Promise<void> {
  await until(async () => {
    const names = await readdir(join(folder, 'out'));
    if (names.includes('weights.safetensors')) throw new Error('the publish was over before it could be disturbed');
    return ((await partialSize(join(folder, 'out'))) ?? -1) >= bytes;
  });
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

test(
  'a worker killed in the middle of publish: another finishes the run, and the file is the same',
  async () => {
    const client = new CheckpointClient({ client: environment.client });
    const target = join(folder, 'out', 'weights.safetensors');
    const first = await worker();
    const run = await client.start(stages(large, target));
    await midway(64 * 1024 * 1024);
    first.process.kill('SIGKILL');
    expect((await first.ended).signal).toBe('SIGKILL');
    expect(await readdir(join(folder, 'out'))).toEqual([expect.stringMatching(/\.partial$/)]);

    await worker();
    const result = await client.settled(run);
    expect(result.error).toBeNull();
    expect(result.status).toBe('completed');
    expect(result.stages.map(({ type, status, attempts }) => ({ type, status, attempts }))).toEqual([
      { type: 'source.local', status: 'completed', attempts: 1 },
      { type: 'loader.weights_only', status: 'completed', attempts: 1 },
      { type: 'sink.publish', status: 'completed', attempts: 2 },
    ]);
    expect((await readdir(join(folder, 'out'))).sort()).toEqual(['weights.safetensors', 'weights.safetensors.manifest.json']);

    const undisturbed = join(folder, 'undisturbed.safetensors');
    const other = await client.settled(await client.start(stages(large, undisturbed)));
    expect(other.status).toBe('completed');
    const digest = await sha256(undisturbed);
    expect(await sha256(target)).toBe(digest);
    expect(result.outputs[0]!.sha256).toBe(digest);
    const manifest = async (path: string) => JSON.parse(await readFile(`${path}.manifest.json`, 'utf8')) as Record<string, unknown>;
    const { uri: _uri, identity: _identity, created: _created, recipe: _recipe, ...facts } = await manifest(target);
    expect(await manifest(undisturbed)).toMatchObject(facts);
  },
  LONG,
);

test(
  'cancelled while the worker that publishes is lost: the run is cancelled, not failed, and nothing is left behind',
  async () => {
    const source = await startHoldingServer(large, 128 * 1024 * 1024);
    try {
      const client = new CheckpointClient({ client: environment.client });
      await worker('--transfers', '0');
      const mover = await worker('--activities', '0');
      const run = await client.start(stages(source.url, join(folder, 'out', 'weights.safetensors')));
      await midway(32 * 1024 * 1024);
      mover.process.kill('SIGKILL');
      await client.cancel(run);
      const result = await client.settled(run);
      expect(result).toMatchObject({ status: 'cancelled', outputs: [] });
      expect(result.stages.map(({ status }) => status)).toEqual(['completed', 'completed', 'cancelled']);
      expect(await readdir(join(folder, 'out'))).toEqual([]);
    } finally {
      await source.close();
    }
  },
  LONG,
);

describe('Ctrl-C in the middle of publish', () => {
  /** However quick the machine: the source sends no more once a part of the file is there. */
  let source: HoldingServer;
  beforeEach(async () => {
    source = await startHoldingServer(large, 128 * 1024 * 1024);
  });
  afterEach(() => source.close());

  test(
    'once: the run is cancelled, nothing is left behind, exit 1',
    async () => {
      const command = launch(
        ['run', await document(source.url, join(folder, 'out', 'weights.safetensors')), '--id', 'once', '--json'],
        embedded(),
      );
      await midway(32 * 1024 * 1024);
      command.process.kill('SIGINT');
      const { code, stdout, stderr } = await command.ended;
      expect(stderr).toContain('Cancelling the run');
      expect(stderr).not.toContain('    at ');
      const result = JSON.parse(stdout) as PipelineResult;
      expect(result).toMatchObject({ workflow_id: 'once', status: 'cancelled', outputs: [] });
      expect(result.stages.map(({ status }) => status)).toEqual(['completed', 'completed', 'cancelled']);
      expect(code).toBe(1);
      expect(await readdir(join(folder, 'out'))).toEqual([]);
      expect(await runningServer(join(folder, 'state', 'checkpoint-pipeline'))).toBeNull();
    },
    LONG,
  );

  test(
    'before the command has a worker up: the run is cancelled all the same',
    async () => {
      const command = launch([
        'run',
        await document(source.url, join(folder, 'out', 'weights.safetensors')),
        '--id',
        'early',
        '--worker',
        '--json',
      ]);
      const { workflow } = environment.client;
      await until(() =>
        workflow
          .getHandle('early')
          .describe()
          .then(Boolean, () => false),
      );
      command.process.kill('SIGINT');
      const { code, stdout, stderr } = await command.ended;
      expect(stderr).toContain('Cancelling the run early');
      expect(code).toBe(1);
      expect(JSON.parse(stdout)).toMatchObject({ workflow_id: 'early', status: 'cancelled', outputs: [] });
    },
    LONG,
  );

  test(
    'twice: the command leaves at once, and `ckpt cancel` removes what was left',
    async () => {
      const command = launch(['run', await document(source.url, join(folder, 'out', 'weights.safetensors')), '--id', 'twice'], embedded());
      await midway(32 * 1024 * 1024);
      command.process.kill('SIGINT');
      await until(() => command.said().includes('Cancelling the run'));
      command.process.kill('SIGINT');
      // 1 where the clean-up was quicker than the second signal.
      expect([130, 1]).toContain((await command.ended).code);

      const after = launch(['cancel', 'twice', '--json'], embedded());
      const { stdout } = await after.ended;
      expect(JSON.parse(stdout)).toMatchObject({ workflow_id: 'twice', status: 'cancelled' });
      expect(await readdir(join(folder, 'out'))).toEqual([]);
      expect(await runningServer(join(folder, 'state', 'checkpoint-pipeline'))).toBeNull();
    },
    LONG,
  );
});

test(
  'two runs with one id: the second is refused and the first goes on',
  async () => {
    const file = await document(fixture('good/state_dict.pt'), join(folder, 'out', 'weights.safetensors'));
    const first = await launch(['run', file, '--id', 'same', '--detach', '--json']).ended;
    expect(first.code).toBe(0);
    const { run_id: runId } = JSON.parse(first.stdout) as { run_id: string };

    const [text, json] = await Promise.all([
      launch(['run', file, '--id', 'same']).ended,
      launch(['run', file, '--id', 'same', '--json', '--worker']).ended,
    ]);
    expect(text.code).toBe(2);
    expect(text.stderr).toMatch(/^CheckpointConfigError: A run with the id same is going on\..*`ckpt status same`.*`--id`.*\.\n/);
    expect(json.code).toBe(2);
    expect(JSON.parse(json.stdout)).toMatchObject({ error: { type: 'CheckpointConfigError', details: { workflow_id: 'same' } } });

    await worker();
    const client = new CheckpointClient({ client: environment.client });
    const result = await client.settled({ workflowId: 'same', runId });
    expect(result).toMatchObject({ run_id: runId, status: 'completed' });
    expect(await client.status('same')).toMatchObject({ run_id: runId });
  },
  LONG,
);

describe('a destination on a disk of its own', () => {
  const available = smallDisks();
  if (!available) process.stderr.write('skipped: no user namespace to mount a small disk in (unshare -Urm), so full disks are not tried\n');
  const onDisk = available ? test : test.skip;

  onDisk(
    'without room: said before anything is written',
    async () => {
      const disk = join(folder, 'out');
      const file = await document(large, join(disk, 'sub', 'weights.safetensors'));
      const { code, stdout, left } = await inSmallDisk({ disk, options: 'size=16m', args: ['run', file, '--worker', '--json'], place });
      const { error, stages } = JSON.parse(stdout) as PipelineResult;
      expect(error).toMatchObject({
        type: 'CheckpointError',
        details: {
          reason: 'no_room',
          needed_bytes: expect.any(Number),
          free_bytes: expect.any(Number),
          pipeline_stage_index: 2,
          suggestion: expect.stringContaining('Free some space there'),
        },
      });
      expect(error!.message).toMatch(/^No room to publish .*: \d+ bytes are needed, \d+ are free\. Free some space or choose another/);
      expect(stages[2]).toMatchObject({ status: 'failed', attempts: 1 });
      expect(code).toBe(1);
      expect(left).toEqual([]);
    },
    LONG,
  );

  onDisk(
    'with room for some of the shards only: said before the first is written, and what is there stays',
    async () => {
      const disk = join(folder, 'out');
      const file = await document(large, join(disk, 'sub', 'weights.safetensors'), { shard_size: '64MiB' });
      const { code, stdout, left } = await inSmallDisk({ disk, options: 'size=196m', args: ['run', file, '--worker', '--json'], place });
      const { error, stages } = JSON.parse(stdout) as PipelineResult;
      expect(error!.message).toMatch(/^No room to publish 8 shards from .* on: \d+ bytes are needed, \d+ are free\./);
      expect(stages[2]).toMatchObject({ status: 'failed', attempts: 1 });
      expect(code).toBe(1);
      expect(left).toEqual([]);
    },
    LONG,
  );

  onDisk(
    'that fills up in the middle of publish: said, and nothing is left behind',
    async () => {
      const disk = join(folder, 'out');
      const source = join(folder, 'source.safetensors');
      await writeLargeSafetensors(source, 8, 24);
      const file = await document(source, join(disk, 'weights.safetensors'));
      const { code, stdout, left } = await inSmallDisk({
        disk,
        options: 'size=196m',
        args: ['run', file, '--worker', '--json'],
        place,
        // Room for the file at first, until somebody else takes it.
        meanwhile: `while ! ls -A "$DISK" | grep -q partial; do :; done; head -c 64m /dev/zero > "$DISK/of-somebody-else" 2>/dev/null`,
      });
      const { error, stages } = JSON.parse(stdout) as PipelineResult;
      expect(error!.message).toMatch(/^No room to publish .*: \d+ bytes are needed/);
      expect(error!.type).toBe('CheckpointError');
      expect(stages[2]).toMatchObject({ status: 'failed', attempts: 1 });
      expect(code).toBe(1);
      expect(left).toEqual(['of-somebody-else']);
    },
    LONG,
  );

  onDisk(
    'that fills up while the second shard is written: the first goes with the folder that was made for them',
    async () => {
      const disk = join(folder, 'out');
      const source = join(folder, 'source.safetensors');
      await writeLargeSafetensors(source, 8, 24);
      const file = await document(source, join(disk, 'sub', 'weights.safetensors'), { shard_size: '96MiB' });
      const { stdout, left } = await inSmallDisk({
        disk,
        options: 'size=196m',
        args: ['run', file, '--worker', '--json'],
        place,
        meanwhile: `while ! ls -A "$DISK/sub" 2>/dev/null | grep -q '00002.*partial'; do :; done; head -c 90m /dev/zero > "$DISK/of-somebody-else" 2>/dev/null`,
      });
      expect((JSON.parse(stdout) as PipelineResult).error!.message).toMatch(/^No room to publish .*00002-of-00002.safetensors: \d+ bytes/);
      expect(left).toEqual(['of-somebody-else']);
    },
    LONG,
  );

  onDisk(
    'that the results of a batch do not fit on: the batch fails, and they lie in the workspace',
    async () => {
      const disk = join(folder, 'out');
      const items = Array.from({ length: 30 }, (_, index) => join(folder, `none-${index}.ckpt`));
      const stages = [{ type: 'source.local', path: '${item.uri}' }];
      const results = join(disk, 'results.jsonl');
      await writeFile(join(folder, 'batch.json'), JSON.stringify({ items, results, continue_on_error: true, pipeline: { stages } }));
      const args = ['batch', 'run', 'batch.json', '--worker', '--json', '--no-report'];
      const { code, stdout, left } = await inSmallDisk({ disk, options: 'size=4k', args, place });
      const result = JSON.parse(stdout) as BatchResult;
      expect(result).toMatchObject({ status: 'failed', failed: 30, error: { type: 'CheckpointError', details: { path: results } } });
      expect(result.error!.message).toMatch(/^No room for the results at .*ENOSPC.* Free some space there/);
      const lines = (await readFile(fileURLToPath(result.results!), 'utf8')).trim().split('\n');
      expect(lines).toHaveLength(30);
      expect(code).toBe(1);
      expect(left).toEqual([]);
    },
    LONG,
  );

  onDisk(
    'that is read-only',
    async () => {
      const disk = join(folder, 'out');
      const file = await document(fixture('good/state_dict.pt'), join(disk, 'weights.safetensors'));
      const { code, stdout, left } = await inSmallDisk({ disk, options: 'ro,size=16m', args: ['run', file, '--worker', '--json'], place });
      expect(JSON.parse(stdout)).toMatchObject({
        status: 'failed',
        error: {
          type: 'CheckpointConfigError',
          message: expect.stringContaining('cannot be written'),
          details: { suggestion: expect.stringContaining('the right to write there') },
        },
      });
      expect(code).toBe(1);
      expect(left).toEqual([]);
    },
    LONG,
  );
});
