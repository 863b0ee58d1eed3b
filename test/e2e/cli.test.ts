/** The command line as users meet it: a process, its streams and its exit code. */
import { spawn } from 'node:child_process';
import { copyFile, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { localUri } from '../../src/io/local/local-file.ts';
import { EXPECTED, FIXTURES, fixture, PROJECT_ROOT } from '../support/project.ts';

const MAIN = fileURLToPath(new URL('../../src/app/cli/main.js', import.meta.url));
const RANKS = join(PROJECT_ROOT, 'test', 'fixtures', 'readers', 'ranks');
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-cli-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function ckpt(...args: readonly string[]): Promise<Ended> {
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NODE_OPTIONS: '' };
  const child = spawn(process.execPath, [MAIN, ...args], { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
}

async function pipeline(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

describe('run', () => {
  test('publishes beside the document, prints one JSON document, exits 0', async () => {
    await copyFile(fixture('good/lightning_trained.ckpt'), join(folder, 'last.ckpt'));
    const file = await pipeline(
      'scrub.yaml',
      'name: scrub\nstages:\n  - {type: source.local, path: last.ckpt}\n  - type: loader.weights_only\n  - {type: sink.publish, uri: out/weights.safetensors}\n',
    );
    const { code, stdout, stderr } = await ckpt('run', file, '--json');
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const result = JSON.parse(stdout) as { status: string; outputs: { size: number }[] };
    expect(result.status).toBe('completed');
    expect((await readFile(join(folder, 'out/weights.safetensors'))).length).toBe(result.outputs[0]!.size);
  });

  test('a warning about its composition, once, on stderr; what is only worth knowing is left to `validate`', async () => {
    await copyFile(fixture('good/state_dict.pt'), join(folder, 'weights.pt'));
    const file = await pipeline(
      'misnamed.yaml',
      'stages:\n  - {type: source.local, path: weights.pt}\n  - type: loader.weights_only\n  - {type: sink.publish, uri: out/fm.pt}\n',
    );
    const { code, stdout, stderr } = await ckpt('run', file, '--json');
    expect(code).toBe(0);
    expect(stderr).toMatch(/^warning format_unlike_name: sink\.publish \(stages\[2\]\) writes safetensors to fm\.pt, [^\n]*\n$/);
    expect(JSON.parse(stdout)).toMatchObject({ status: 'completed' });
  });

  test('a missing file fails with exit 1, its near names and the stage', async () => {
    await copyFile(fixture('good/state_dict.pt'), join(folder, 'model.ckpt'));
    const file = await pipeline(
      'missing.yaml',
      'stages:\n  - {type: source.local, path: modle.ckpt}\n  - type: loader.weights_only\n  - {type: sink.publish, uri: out/x.safetensors}\n',
    );
    const { code, stdout } = await ckpt('run', file, '--json');
    expect(code).toBe(1);
    const { error } = JSON.parse(stdout) as { error: { type: string; message: string; details: Record<string, unknown> } };
    expect(error.type).toBe('CheckpointNotFoundError');
    expect(error.message).toContain('model.ckpt');
    expect(error.details['pipeline_stage_index']).toBe(0);
  });
});

describe('validate', () => {
  test.each([
    ['unknown type', 'stages:\n  - type: source.lcoal\n', ':2:5: ', 'source.local'],
    ['unknown option', 'stages:\n  - type: source.local\n    pth: x\n', ':3:5: ', '`path`'],
    ['broken YAML', 'stages:\n  - {type: source.local\n', ':', ''],
    ['no stages', 'name: x\n', 'stages', ''],
  ])('%s: exit 2, with the place and what was meant', async (name, text, place, hint) => {
    const { code, stderr } = await ckpt('validate', await pipeline(`${name.replace(' ', '-')}.yaml`, text));
    expect(code).toBe(2);
    expect(stderr).toContain('CheckpointConfigError');
    expect(stderr).toContain(place);
    expect(stderr).toContain(hint);
    expect(stderr).not.toContain('    at ');
  });
});

describe('a command that is none', () => {
  test.each([
    ['an unknown option', ['convert', 'a', 'b', '--bogus'], "unknown option '--bogus'"],
    ['a missing argument', ['run'], "missing required argument 'pipeline'"],
    ['an unknown command', ['frobnicate'], "unknown command 'frobnicate'"],
    ['help of a command that is not there', ['help', 'frobnicate'], "unknown command 'frobnicate'"],
    ['a value that is not among those', ['convert', 'a', 'b', '--format', 'gguf'], "argument 'gguf' is invalid"],
    ['a group without one of its commands', ['batch', 'frobnicate'], "unknown command 'frobnicate'"],
  ])('%s: exit 2, and under --json one document on stdout', async (_name, args, message) => {
    const plain = await ckpt(...args);
    expect(plain).toMatchObject({ code: 2, stdout: '' });
    expect(plain.stderr).toContain(message);
    const { code, stdout } = await ckpt(...args, '--json');
    expect(code).toBe(2);
    const { error } = JSON.parse(stdout) as { error: { type: string; message: string } };
    expect(error.type).toBe('CheckpointConfigError');
    expect(error.message).toContain(message);
  });
});

describe('inspect', () => {
  test('says what is in a training checkpoint, in a few requests', async () => {
    const path = 'good/lightning_trained.ckpt';
    const { code, stdout } = await ckpt('inspect', join(FIXTURES, path), '--json');
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as {
      format: string;
      container: string;
      tensors: { name: string }[];
      training: object;
      requests: { count: number };
    };
    const { format, container, epoch, global_step, tensors } = EXPECTED.good[path]!;
    expect(report).toMatchObject({ format, container, training: { epoch, global_step, has_optimizer: true, has_scheduler: true } });
    expect(report.tensors.map((tensor) => tensor.name)).toEqual(Object.keys(tensors));
    expect(report.requests.count).toBeLessThanOrEqual(4);
  });

  test.each([
    'corrupt/empty.ckpt',
    'corrupt/gzipped.ckpt',
    'corrupt/html_error_page.ckpt',
    'corrupt/noise.pt',
    'corrupt/lfs_pointer.safetensors',
  ])('%s: a typed error on stdout under --json', async (path) => {
    const { code, stdout } = await ckpt('inspect', fixture(path), '--json');
    expect(code).toBe(1);
    expect((JSON.parse(stdout) as { error: { type: string } }).error.type).toBe('CheckpointLoadError');
  });
});

test.each([
  ['inspect', ['inspect']],
  ['verify', ['verify']],
  ['diff', ['diff', RANKS]],
])('%s: a folder of slices that ranks wrote goes by the name of the folder', async (_, words) => {
  const { code, stdout } = await ckpt(...words, RANKS, '--json');
  expect(code).toBe(0);
  const { uri, source } = JSON.parse(stdout) as { uri?: string; source?: string };
  expect(uri ?? source).toBe(`${localUri(RANKS)}/`);
});

test('a value that is not YAML: one line says where', async () => {
  const { code, stderr } = await ckpt('resolve', 'x', '--retry', '--set', 'path=[1');
  expect(code).toBe(2);
  expect(stderr).toMatch(/^CheckpointConfigError: `--set path`: Flow sequence .* column \d+\. Put quotes/);
  expect(stderr).not.toContain('\\n');
});

test('an unknown command exits 2', async () => {
  expect((await ckpt('frobnicate')).code).toBe(2);
});

test('a reader that leaves early (`| head`) is not an error', async () => {
  const child = spawn(process.execPath, [MAIN, 'stages'], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

test('a full disk behind stdout: one line says so, and the command has failed', async () => {
  const full = await open('/dev/full', 'w').catch(() => null);
  // Linux alone has it.
  if (full === null) return;
  const child = spawn(process.execPath, [MAIN, 'stages', '--json'], { stdio: ['ignore', full.fd, 'pipe'] });
  let stderr = '';
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise((resolve) => child.on('close', resolve));
  await full.close();
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^CheckpointError: .*stdout is not all there: ENOSPC.*\n$/) });
});

test.each(['1e9', 'Infinity', '-1', ''])('`ckpt gc --older-than %j` exits 2', async (days) => {
  const { code, stderr } = await ckpt('gc', `--older-than=${days}`);
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('expected a number of days, from 0 to 36500') });
});
