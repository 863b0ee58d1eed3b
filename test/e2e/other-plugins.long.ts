/** Several commands at one embedded server, of whose workers not all have the same stages. */
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ckpt, type Ended, type Running } from '../support/cli.ts';
import { fixture, PROJECT_ROOT } from '../support/project.ts';

/** Of the runs that two workers would share, each stage goes to whichever polls first. */
const RUNS = 4;
const PLUGIN = `
import { defineStage } from '${join(PROJECT_ROOT, 'dist', 'src', 'plugin.js')}';
import { z } from '${join(PROJECT_ROOT, 'node_modules', 'zod', 'index.js')}';
export default defineStage({
  type: 'modifier.nothing',
  description: 'changes nothing',
  options: z.strictObject({}),
  run: async ({ context }) => ({ context, summary: 'nothing' }),
});
`;

let folder: string;
let dev: Running;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-other-plugins-'));
  await writeFile(join(folder, 'nothing.mjs'), PLUGIN);
  await copyFile(fixture('good/lightning_trained.ckpt'), join(folder, 'last.ckpt'));
  const document = (name: string, stage: string): string =>
    `name: ${name}\nstages:\n  - {type: source.local, path: last.ckpt}\n  - type: loader.weights_only\n${stage}  - {type: sink.publish, uri: ${name}.safetensors}\n`;
  await writeFile(join(folder, 'plain.yaml'), document('plain', ''));
  await writeFile(join(folder, 'plugged.yaml'), document('plugged', '  - type: modifier.nothing\n'));
  dev = run('dev', '--plugins', 'nothing.mjs');
  while (!dev.said().includes('Worker polls') && dev.process.exitCode === null) await sleep(20);
}, 60_000);
afterAll(async () => {
  dev.process.kill('SIGTERM');
  await dev.ended;
  await rm(folder, { recursive: true, force: true });
});

function run(...args: readonly string[]): Running {
  return ckpt(args, { cwd: folder, env: { XDG_STATE_HOME: join(folder, 'state') } });
}
const told = ({ code, stderr }: Ended): unknown => ({ code, stderr: code === 0 ? '' : stderr });

test('what needs none of them is left to the worker that has them; no other takes its stages', async () => {
  const plain = run('run', 'plain.yaml', '--json');
  for (let each = 0; each < RUNS; each++)
    expect(told(await run('run', 'plugged.yaml', '--plugins', './nothing.mjs', '--json').ended)).toEqual({ code: 0, stderr: '' });
  expect(told(await plain.ended)).toEqual({ code: 0, stderr: '' });
  expect(told(await run('status', (JSON.parse((await plain.ended).stdout) as { workflow_id: string }).workflow_id).ended)).toMatchObject({
    code: 0,
  });
}, 120_000);

test('a worker that lacks them, or has others, is not put beside it', async () => {
  await writeFile(join(folder, 'others.mjs'), PLUGIN.replace('modifier.nothing', 'modifier.other'));
  for (const args of [['worker'], ['run', 'plain.yaml', '--plugins', 'others.mjs']])
    expect(await run(...args).ended).toMatchObject({ code: 2, stderr: expect.stringContaining('with other settings: --plugins.') });
}, 60_000);
