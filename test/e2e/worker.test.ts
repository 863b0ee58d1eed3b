/** `ckpt worker` in a process of its own, and the check that a container's health is judged by. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ckpt, type Place } from '../support/cli.ts';
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

test('before there is a worker, the check fails and says so', async () => {
  const { code, stderr } = await ckpt(['worker', '--check'], place).ended;
  expect(stderr).toMatch(/^CheckpointError: No worker of this machine \(.+\) polls `checkpoints`/);
  expect(code).toBe(1);
});

test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('is seen by the check while it polls, and ends with 0 on %s', async (signal) => {
  const worker = ckpt(['worker'], place);
  while (!worker.said().includes('Worker polls')) await sleep(20);
  // The server learns of a poller with its first request, which may come a moment later.
  for (let code: number | null = null; code !== 0;) ({ code } = await ckpt(['worker', '--check'], place).ended);
  worker.process.kill(signal);
  const { code, stdout, stderr } = await worker.ended;
  expect(code).toBe(0);
  expect(stdout).toBe('');
  expect(stderr).toBe(
    `Worker polls \`checkpoints\` and \`checkpoints-transfers\` at ${environment.address} (configured). Ctrl-C stops it.\n`,
  );
});
