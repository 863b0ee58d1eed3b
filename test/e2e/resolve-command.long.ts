/** `ckpt resolve` as an operator has it: at a run that another process waits for. */
import { randomUUID } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { PipelineResult } from '../../src/pipeline/contract.ts';
import { ckpt, type Place } from '../support/cli.ts';
import { fixture } from '../support/project.ts';
import { devServer } from '../support/temporal.ts';

const LONG = 180_000;

let environment: TestWorkflowEnvironment;
let folder: string;

beforeAll(async () => {
  environment = await devServer();
});
afterAll(() => environment?.teardown());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-resolve-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const ended = async (args: readonly string[], place: Place) => ckpt(args, place).ended;

test(
  'answers a run from the command line; wrong commands end with 2',
  async () => {
    await mkdir(join(folder, 'data'));
    await copyFile(fixture('good/lightning_trained.ckpt'), join(folder, 'data', 'good.ckpt'));
    await writeFile(
      join(folder, 'pipeline.json'),
      JSON.stringify({
        stages: [
          { type: 'source.local', path: join(folder, 'no.ckpt') },
          { type: 'loader.weights_only' },
          { type: 'sink.publish', uri: join(folder, 'out.safetensors') },
        ],
        on_error: 'wait',
      }),
    );
    const place: Place = { cwd: folder, env: { TEMPORAL_ADDRESS: environment.address, CKPT_WORKSPACE: join(folder, 'workspace') } };
    const id = `cli-${randomUUID()}`;
    const running = ckpt(['run', 'pipeline.json', '--worker', '--id', id, '--json'], place);
    while (!running.said().includes('the run waits')) await sleep(100);
    expect(running.said()).toContain(`ckpt resolve ${id} --retry`);

    const status = await ended(['status', id], place);
    expect(status.stdout).toContain('waiting');
    expect(status.stderr).toContain(`ckpt resolve ${id}`);
    for (const [args, says] of [
      [['resolve', id], 'one of'],
      [['resolve', id, '--retry', '--skip'], 'one of'],
      [['resolve', id, '--skip', '--set', 'path=x'], '--retry'],
      [['resolve', id, '--retry', '--set', 'pth=x'], 'path'],
    ] as const) {
      const { code, stderr } = await ended(args, place);
      expect([code, stderr]).toEqual([2, expect.stringContaining(says)]);
    }
    const taken = await ended(
      ['resolve', id, '--retry', '--set', 'path=data/good.ckpt', '--set', 'retry={maximum_attempts: 2}', '--json'],
      place,
    );
    expect([taken.code, taken.stderr]).toEqual([0, '']);
    expect(JSON.parse(taken.stdout)).toEqual({ workflow_id: id, stage: { index: 0, type: 'source.local' }, action: 'retry' });
    const { code, stdout } = await running.ended;
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as PipelineResult).stages[0]!.tries[1]!.changed).toEqual({
      path: join(folder, 'data', 'good.ckpt'),
      retry: { maximum_attempts: 2 },
    });
    const over = await ended(['resolve', id, '--skip', '--json'], place);
    expect([over.code, JSON.parse(over.stdout)]).toEqual([1, { error: expect.objectContaining({ type: 'CheckpointNotFoundError' }) }]);
    const registered = await ended(['setup', '--json'], place);
    expect(JSON.parse(registered.stdout)).toMatchObject({ search_attributes: expect.arrayContaining(['CheckpointBatch']) });
  },
  LONG,
);
