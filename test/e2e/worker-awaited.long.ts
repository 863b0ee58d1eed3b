/** Commands that wait for a worker: what they say meanwhile, and a batch that is told to end. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ckpt, type Place, type Running } from '../support/cli.ts';
import { fixture } from '../support/project.ts';
import { devServer } from '../support/temporal.ts';

let environment: TestWorkflowEnvironment;
let place: Place;

beforeAll(async () => {
  environment = await devServer();
  const folder = await mkdtemp(join(tmpdir(), 'ckpt-worker-'));
  place = { cwd: folder, env: { TEMPORAL_ADDRESS: environment.address, CKPT_WORKSPACE: join(folder, 'workspace') } };
});
afterAll(async () => {
  await environment?.teardown();
  await rm(place.cwd, { recursive: true, force: true });
});

test('a run says that it waits for workers where none is up, or none takes it; not where one does', async () => {
  const path = fixture('good/state_dict.pt');
  // Each with an output of its own: they run at the same time.
  const stages = (path: string, uri: string) => [
    { type: 'source.local', path },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri },
  ];
  const documents = [
    ['run', 'p.json', { stages: stages(path, 'run.safetensors') }],
    ['batch run', 'b.json', { items: [path], pipeline: { stages: stages('${item.uri}', 'batch.safetensors') } }],
  ] as const;
  const left: Running[] = [];
  const waiting = async (): Promise<void> => {
    for (const [command, file, document] of documents) {
      await writeFile(join(place.cwd, file), JSON.stringify(document));
      const one = ckpt([...command.split(' '), file, '--no-report'], place);
      while (!one.said().includes(`Waiting for the workers of ${environment.address}; is one up?`)) await sleep(20);
      left.push(one);
    }
  };
  await waiting();
  const worker = ckpt(['worker'], place);
  for (const one of left.splice(0)) expect(await one.ended).toMatchObject({ code: 0 });
  for (const [command, file] of documents)
    expect(await ckpt([...command.split(' '), file], place).ended).toMatchObject({
      code: 0,
      stderr: expect.not.stringContaining('Waiting'),
    });
  worker.process.kill('SIGTERM');
  await worker.ended;
  // The server remembers the worker for minutes.
  await waiting();
  for (const { process } of left) process.kill('SIGKILL');
  await Promise.all(left.map(({ ended }) => ended));
}, 120_000);

test('a batch that was cancelled says so once, and not of a run', async () => {
  const stages = [
    { type: 'source.local', path: '${item.uri}', on_error: 'wait' },
    { type: 'loader.weights_only' },
    { type: 'sink.publish', uri: 'out.safetensors' },
  ];
  await writeFile(join(place.cwd, 'held.json'), JSON.stringify({ items: ['none.pt'], pipeline: { stages } }));
  const worker = ckpt(['worker'], place);
  expect(await ckpt(['batch', 'run', 'held.json', '--detach', '--id', 'held'], place).ended).toMatchObject({ code: 0 });
  const { code, stdout, stderr } = await ckpt(['batch', 'cancel', 'held'], place).ended;
  worker.process.kill('SIGTERM');
  await worker.ended;
  expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^Batch held: cancelled\n/) });
  expect(stderr).toMatch(/^held was asked to end\..*\n$/);
}, 120_000);
