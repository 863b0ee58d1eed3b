/** Commands that cannot do what they were asked for: they say why, and their process ends by itself. */
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ckpt, type Ended, type Running } from '../support/cli.ts';
import { fixture } from '../support/project.ts';
import { devServer } from '../support/temporal.ts';

/** Milliseconds after which a process counts as one that does not end: a bound for the test, not for the command. */
const HANGS = 100_000;
const TEST = 150_000;

let environment: TestWorkflowEnvironment;
let folder: string;
let server: Readonly<Record<string, string>>;

beforeAll(async () => {
  environment = await devServer();
  folder = await mkdtemp(join(tmpdir(), 'ckpt-start-'));
  server = { TEMPORAL_ADDRESS: environment.address, XDG_STATE_HOME: join(folder, 'state') };
  await copyFile(fixture('good/lightning_trained.ckpt'), join(folder, 'last.ckpt'));
  const stages = '\n  - {type: source.local, path: SOURCE}\n  - type: loader.weights_only\n  - {type: sink.publish, uri: OUT}\n';
  await writeFile(join(folder, 'p.yaml'), `stages:${stages.replace('SOURCE', 'last.ckpt').replace('OUT', 'out/w.safetensors')}`);
  const template = stages.replace('SOURCE', '"${item.uri}"').replace('OUT', '"out/${item.stem}.safetensors"').replaceAll('\n', '\n  ');
  await writeFile(join(folder, 'b.yaml'), `items: [last.ckpt]\npipeline:\n  stages:${template}`);
});
afterAll(async () => {
  await environment?.teardown();
  await rm(folder, { recursive: true, force: true });
});

/** Killed where it hangs, which its exit code tells. */
async function ended(running: Running): Promise<Ended> {
  const timer = setTimeout(() => running.process.kill('SIGKILL'), HANGS);
  return running.ended.finally(() => clearTimeout(timer));
}

const at = (env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<Ended> => ended(ckpt(args, { cwd: folder, env }));

test.each<[string, Readonly<Record<string, string>>, readonly string[], string]>([
  ['storage settings that are not there', {}, ['worker', '--storage', 'none.yaml'], 'none.yaml cannot be read'],
  ['the same by the variable', { CKPT_STORAGE: '/none.yaml' }, ['worker'], '/none.yaml cannot be read'],
  ['the same of a run', { CKPT_STORAGE: '/none.yaml' }, ['run', 'p.yaml', '--worker'], '/none.yaml cannot be read'],
  ['a plug-in that is not there', {}, ['worker', '--plugins', '/none'], 'no plug-in /none'],
  ['a namespace that is not there', { TEMPORAL_NAMESPACE: 'nope' }, ['worker'], 'The namespace `nope` is not on the Temporal server'],
  ['the same of a run', { TEMPORAL_NAMESPACE: 'nope' }, ['run', 'p.yaml', '--worker'], 'The namespace `nope`'],
  ['the same of other commands', { TEMPORAL_NAMESPACE: 'nope' }, ['status', 'x'], 'namespace create -n nope`'],
  ['and those without runs', { TEMPORAL_NAMESPACE: 'nope' }, ['setup'], 'namespace create -n nope`'],
  ['a workspace in no bucket', { CKPT_WORKSPACE: 's3://' }, ['worker'], 'The workspace s3:// cannot be used'],
  ['a workspace over HTTP', { CKPT_WORKSPACE: 'http://x' }, ['worker'], 'Set CKPT_WORKSPACE'],
  ['a workspace that is not a folder', { CKPT_WORKSPACE: fixture('good/lightning_trained.ckpt') }, ['worker'], 'Set CKPT_WORKSPACE'],
  ['no transfers where one worker does all', { TEMPORAL_ADDRESS: '' }, ['worker', '--transfers', '0'], 'each worker does all of it'],
  ['and no activities', { TEMPORAL_ADDRESS: '', CKPT_ACTIVITIES: '0' }, ['dev'], '`--activities 0` leaves that work'],
  ['a relative fence', { CKPT_ALLOWED_ROOTS: 'data' }, ['worker'], 'The allowed folder `data` is relative'],
])(
  '%s: exit 2, and the process ends',
  async (_, env, args, message) => {
    const { code, signal, stderr } = await at({ ...server, ...env }, ...args);
    expect({ code, signal, stderr }).toEqual({ code: 2, signal: null, stderr: expect.stringContaining(message) });
    expect(stderr).toMatch(/^CheckpointConfigError: /);
  },
  TEST,
);

test(
  'beside the embedded server, which ends as well, and no run is left to others',
  async () => {
    const state = join(folder, 'embedded');
    const run = await at({ XDG_STATE_HOME: state, CKPT_STORAGE: '/none.yaml' }, 'run', 'p.yaml', '--id', 'left', '--json');
    expect(run).toMatchObject({ code: 2, signal: null });
    expect((JSON.parse(run.stdout) as { error: object }).error).toMatchObject({ type: 'CheckpointConfigError' });
    const dev = await at({ XDG_STATE_HOME: state, TEMPORAL_NAMESPACE: 'nope' }, 'dev');
    expect(dev).toMatchObject({ code: 2, signal: null });
    expect(JSON.parse(await readFile(join(state, 'checkpoint-pipeline', 'server.json'), 'utf8'))).toHaveProperty('endingSince');
    const status = await at({ XDG_STATE_HOME: state }, 'status', 'left', '--json');
    expect((JSON.parse(status.stdout) as { error: object }).error).toMatchObject({ type: 'CheckpointNotFoundError' });
  },
  2 * TEST,
);

test('a state folder that cannot be made: the variable and the folder are named', async () => {
  const { code, stderr } = await at({ XDG_STATE_HOME: join(folder, 'p.yaml') }, 'status', 'x');
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: expect.stringMatching(/The state folder .*p\.yaml.* cannot be written.*XDG_STATE_HOME/),
  });
});

test(
  'an argument with the name of a command: under --json there is a document all the same',
  async () => {
    for (const args of [
      ['status', 'run'],
      ['batch', 'status', 'run'],
      ['cancel', 'batch'],
    ]) {
      const { code, stdout } = await at(server, ...args, '--json');
      expect(code).toBe(1);
      expect((JSON.parse(stdout) as { error: object }).error).toMatchObject({ type: 'CheckpointNotFoundError' });
    }
  },
  TEST,
);

test(
  'with no worker a cancellation is not waited for; it stands',
  async () => {
    await at(server, 'run', 'p.yaml', '--detach', '--id', 'asked');
    const interrupt = async (...args: readonly string[]): Promise<Ended> => {
      const waiting = ckpt(args, { cwd: folder, env: server });
      while (!waiting.said().includes('Waiting for the workers') && waiting.process.exitCode === null) await sleep(20);
      waiting.process.kill('SIGTERM');
      return ended(waiting);
    };
    const [asked, ...interrupted] = await Promise.all([
      at(server, 'cancel', 'asked', '--json'),
      interrupt('run', 'p.yaml', '--id', 'interrupted'),
      interrupt('batch', 'run', 'b.yaml', '--id', 'interrupted-batch'),
    ]);
    expect(asked).toMatchObject({ code: 1, stderr: expect.stringContaining('asked was asked to end. Waiting for a worker') });
    expect((JSON.parse(asked.stdout) as { error: object }).error).toMatchObject({
      type: 'CheckpointTimeoutError',
      message: expect.stringContaining('The request stands'),
    });
    for (const one of interrupted)
      expect(one).toMatchObject({ code: 1, signal: null, stderr: expect.stringContaining('The request stands') });
    await at(server, 'batch', 'run', 'b.yaml', '--detach', '--id', 'many');
    const many = await at(server, 'batch', 'cancel', 'many');
    expect(many).toMatchObject({ code: 1, signal: null, stderr: expect.stringContaining('The request stands') });
    for (const id of ['asked', 'interrupted', 'interrupted-batch', 'many']) {
      const { events } = await environment.client.workflow.getHandle(id).fetchHistory();
      expect(events?.some((event) => event.workflowExecutionCancelRequestedEventAttributes != null)).toBe(true);
    }
  },
  TEST,
);

test(
  'a batch that goes on is not retried, and one that has ended not paused',
  async () => {
    await at(server, 'batch', 'run', 'b.yaml', '--detach', '--id', 'b');
    const retry = await at(server, 'batch', 'retry', 'b');
    expect(retry).toMatchObject({ code: 2, stderr: expect.stringContaining('b is going on: retry it when it has ended') });
    // Whatever was to be started under its id.
    for (const args of [
      ['run', 'p.yaml'],
      ['batch', 'run', 'b.yaml'],
    ])
      expect(await at(server, ...args, '--detach', '--id', 'b')).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('A batch with the id b is going on. Look at it with `ckpt batch status b`'),
      });
    await environment.client.workflow.getHandle('b').terminate();
    for (const what of ['pause', 'resume']) {
      const told = await at(server, 'batch', what, 'b');
      expect(told).toMatchObject({ code: 1, stderr: expect.stringContaining(`b has ended (terminated): there is nothing to ${what}.`) });
    }
  },
  TEST,
);
