/** Several commands at one embedded server, whose workers may not reach the same. */
import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ckpt, type Running } from '../support/cli.ts';
import { fixture } from '../support/project.ts';

let folder: string;
let env: Readonly<Record<string, string>>;
let dev: Running;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-settings-'));
  env = { XDG_STATE_HOME: join(folder, 'state') };
  await copyFile(fixture('good/lightning_trained.ckpt'), join(folder, 'last.ckpt'));
  dev = ckpt(['dev'], { cwd: folder, env });
  while (!dev.said().includes('Worker polls')) await sleep(20);
});
afterAll(async () => {
  dev.process.kill('SIGTERM');
  await dev.ended;
  await rm(folder, { recursive: true, force: true });
});

test('a fence that only this command has is not left to a worker without it', async () => {
  const fenced = { cwd: folder, env: { ...env, CKPT_ALLOWED_ROOTS: join(folder, 'inside') } };
  const { code, stderr } = await ckpt(['convert', 'last.ckpt', 'out.safetensors'], fenced).ended;
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('with other settings: CKPT_ALLOWED_ROOTS.') });
  expect(await readdir(folder)).not.toContain('out.safetensors');
  expect((await ckpt(['worker'], fenced).ended).code).toBe(2);
});

test('what needs no worker of its own goes on, and so does a command with the same settings', async () => {
  const done = await ckpt(['convert', 'last.ckpt', 'same.safetensors', '--json'], { cwd: folder, env }).ended;
  const { workflow_id: id } = JSON.parse(done.stdout) as { workflow_id: string };
  const other = { cwd: folder, env: { ...env, AWS_PROFILE: 'another' } };
  const { code, stdout } = await ckpt(['status', id, '--json'], other).ended;
  expect([code, (JSON.parse(stdout) as { status: string }).status]).toEqual([0, 'completed']);
});
