/** The examples for other languages, run as their first lines say, against a real server and `ckpt worker`. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { findTemporalBinary } from '../../src/app/temporal/binary.ts';
import type { PipelineResult } from '../../src/pipeline/contract.ts';
import { ckpt, start, type Running } from '../support/cli.ts';
import { fixture, PROJECT_ROOT } from '../support/project.ts';
import { devServer } from '../support/temporal.ts';

const LONG = 600_000;
const EXAMPLES = join(PROJECT_ROOT, 'examples');
const SOURCE = fixture('good/state_dict.pt');
const NOT_HERE = 75;

let environment: TestWorkflowEnvironment;
let folder: string;
let worker: Running;

beforeAll(async () => {
  environment = await devServer();
  folder = await mkdtemp(join(tmpdir(), 'ckpt-languages-'));
  worker = ckpt(['worker'], { cwd: folder, env: { TEMPORAL_ADDRESS: environment.address, CKPT_WORKSPACE: join(folder, 'workspace') } });
});
afterAll(async () => {
  worker?.process.kill('SIGTERM');
  await worker?.ended;
  await environment?.teardown();
  await rm(folder, { recursive: true, force: true });
});

test(
  'the Temporal CLI: start, query, update, result; a failure has its type and details',
  async () => {
    const temporal = await findTemporalBinary({ log: () => undefined });
    const target = join(folder, 'cli.safetensors');
    const env = { TEMPORAL_ADDRESS: environment.address, PATH: [dirname(temporal), process.env['PATH']].join(delimiter) };
    const { code, stdout, stderr } = await start(['sh', join(EXAMPLES, 'temporal-cli', 'run.sh'), SOURCE, target], { cwd: folder, env })
      .ended;
    expect([code, stderr.replaceAll(/^Error: workflow failed\n/gm, '')]).toEqual([0, '']);
    const [, , , , result, failed, last] = stdout.split(/^== .*\n/m);
    const ended = JSON.parse(result!) as { status: string; result: PipelineResult };
    expect(ended).toMatchObject({
      status: 'COMPLETED',
      result: { status: 'completed', stages: [{ tries: [{ outcome: 'failed' }, {}] }, {}, {}] },
    });
    const { closeEvent, status } = JSON.parse(failed!) as { status: string; closeEvent: unknown };
    expect(status).toBe('FAILED');
    const failure = {
      message: expect.stringContaining('state_dict.pt.missing'),
      applicationFailureInfo: { type: 'CheckpointNotFoundError', details: [{ pipeline_stage_type: 'source.local' }, { status: 'failed' }] },
    };
    expect(closeEvent).toMatchObject({ workflowExecutionFailedEventAttributes: { failure } });
    expect([last, stdout]).toEqual(['', expect.stringContaining('\n== exit code 1\n')]);
    expect((await stat(target)).size).toBeGreaterThan(0);
  },
  LONG,
);

const script = join(PROJECT_ROOT, 'scripts', 'python-environment.mjs');
const made = spawnSync(process.execPath, [script, 'python-example', join(EXAMPLES, 'python', 'requirements.txt')], { encoding: 'utf8' });
const skipped = made.status === NOT_HERE;
if (skipped) process.stderr.write(`skipped: the example for Python: ${made.stderr.trim()}\n`);

(skipped ? test.skip : test)(
  'the Python SDK: start, query, a refused and a taken update, result; a failure has its type and details',
  async () => {
    expect([made.status, made.stderr.replace(/^python-example: making.*\n/, '')]).toEqual([0, '']);
    const target = join(folder, 'python.safetensors');
    const command = [made.stdout.trim(), join(EXAMPLES, 'python', 'run.py'), SOURCE, target];
    const { code, stdout, stderr } = await start(command, { cwd: folder, env: { TEMPORAL_ADDRESS: environment.address } }).ended;
    expect([code, stderr]).toEqual([0, '']);
    const said = Object.fromEntries(
      stdout
        .trim()
        .split('\n')
        .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
    );
    expect(said).toMatchObject({ waiting: 'CheckpointNotFoundError', refused: 'CheckpointConfigError' });
    expect(JSON.parse(said['result']!)).toMatchObject({ status: 'completed', outputs: [{ uri: `file://${target}` }] });
    expect(JSON.parse(said['failed']!)).toMatchObject({
      type: 'CheckpointNotFoundError',
      message: expect.stringContaining('state_dict.pt.missing'),
      details: { pipeline_stage_type: 'source.local' },
    });
    // Nobody answers a run that waits once more: it ends, with its error.
    const nowhere = [...command.slice(0, 2), join(folder, 'nowhere.pt'), target];
    const lost = await start(nowhere, { cwd: folder, env: { TEMPORAL_ADDRESS: environment.address } }).ended;
    expect([lost.code, lost.stderr]).toEqual([1, expect.stringMatching(/^CheckpointNotFoundError: .*nowhere\.pt/)]);
  },
  LONG,
);
