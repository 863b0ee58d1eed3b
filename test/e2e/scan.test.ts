/** `ckpt scan` as users meet it: exit codes, JSON, SARIF, folders. */
import { spawn } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { asOwner } from '../support/as-owner.ts';
import { fixture, PROJECT_ROOT } from '../support/project.ts';

const MAIN = fileURLToPath(new URL('../../src/app/cli/main.js', import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-scan-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function scan(...args: readonly string[]): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const [command, ...given] = asOwner([process.execPath, MAIN, 'scan', ...args]);
  const child = spawn(command!, given, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
}

test('a safe file: exit 0', async () => {
  const { code, stdout } = await scan(fixture('good/lightning_trained.ckpt'));
  expect(code).toBe(0);
  expect(stdout).toMatch(/^safe +file:/);
});

test('several files: each has its verdict, exit 1 on anything but safe', async () => {
  const paths = [
    'good/plain.safetensors',
    'unsafe/call_os_system.pt',
    'good/lightning_rich_hparams_p2.ckpt',
    'corrupt/noise.pt',
    'absent.pt',
  ].map(fixture);
  const { code, stdout } = await scan('--json', ...paths);
  expect(code).toBe(1);
  const { files } = JSON.parse(stdout) as { files: Record<string, unknown>[] };
  expect(files.map(({ verdict }) => verdict)).toEqual(['safe', 'dangerous', 'unknown', 'corrupt', 'unread']);
  expect(files[1]).toEqual({
    uri: pathToFileURL(fixture('unsafe/call_os_system.pt')).href,
    verdict: 'dangerous',
    globals: expect.arrayContaining([
      { module: 'os', name: 'system', verdict: 'dangerous', member: expect.stringContaining('data.pkl'), position: expect.any(Number) },
    ]),
    findings: expect.any(Array),
  });
  expect(files[4]).toMatchObject({ findings: [{ code: 'not_read', message: expect.stringContaining('absent.pt') }] });
});

test('SARIF on stdout', async () => {
  const { code, stdout } = await scan('--sarif', fixture('unsafe/call_os_system.pt'));
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    version: '2.1.0',
    runs: [{ results: expect.arrayContaining([expect.objectContaining({ level: 'error' })]) }],
  });
});

test('JSON and SARIF at once are refused, and so is a path that is empty', async () => {
  expect(await scan('--json', '--sarif', fixture('good/plain.safetensors'))).toMatchObject({
    code: 2,
    stdout: expect.stringContaining("'--sarif' cannot be used with option '--json'"),
  });
  expect(await scan('')).toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringContaining('`<uri>` is empty. Is a variable not set?'),
  });
});

test('a folder: its checkpoints whatever they are called, each once, text beside them left out', async () => {
  const models = join(folder, 'models');
  await mkdir(join(models, 'inner'), { recursive: true });
  const shards = 'good/sharded_safetensors';
  for (const name of ['model.safetensors.index.json', 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'])
    await copyFile(fixture(join(shards, name)), join(models, name)).catch(() => undefined);
  await copyFile(fixture('good/plain.safetensors'), join(models, 'inner', 'plain.safetensors'));
  await writeFile(join(models, 'README.md'), '# A model\n');
  await writeFile(join(models, 'config.json'), '{"a": 1}\n');
  await copyFile(join(PROJECT_ROOT, 'dist', 'report-page.html'), join(models, 'model.safetensors.report.html'));
  const clean = await scan('--json', models);
  expect(clean.code).toBe(0);
  expect(clean.stderr).toMatch(/3 files no checkpoint, left out: .*README\.md.*report\.html/);
  const uris = (JSON.parse(clean.stdout) as { files: { uri: string }[] }).files.map(({ uri }) => basename(uri));
  expect(new Set(uris).size).toBe(uris.length);
  expect(uris).toContain('plain.safetensors');

  await copyFile(fixture('unsafe/bare_pickle_proto2.ckpt'), join(models, 'notes.txt'));
  await writeFile(join(models, 'old.7z'), Buffer.from('7z\xbc\xaf\x27\x1c\0\0', 'latin1'));
  const { code, stdout } = await scan('--json', models);
  expect(code).toBe(1);
  const { files } = JSON.parse(stdout) as { files: { uri: string; verdict: string }[] };
  const of = (name: string): unknown => files.find(({ uri }) => uri.endsWith(name))?.verdict;
  expect([of('notes.txt'), of('old.7z')]).toEqual(['dangerous', 'corrupt']);
});

test('a folder without checkpoints is an error', async () => {
  const empty = join(folder, 'empty');
  await mkdir(empty);
  const { code, stderr } = await scan(empty);
  expect(code).toBe(1);
  expect(stderr).toMatch(/holds no checkpoint/);
});

test('what may not be read is unread, file or folder, and the rest is judged', async () => {
  const mixed = join(folder, 'mixed');
  const [closed, shut] = [join(mixed, 'closed'), join(mixed, 'shut.pt')];
  await mkdir(closed, { recursive: true });
  await copyFile(fixture('good/plain.safetensors'), join(mixed, 'plain.safetensors'));
  await copyFile(fixture('good/state_dict.pt'), shut);
  await chmod(shut, 0o000);
  await chmod(closed, 0o000);
  const { code, stdout } = await scan('--json', mixed);
  expect(code).toBe(1);
  const { files } = JSON.parse(stdout) as { files: Record<string, unknown>[] };
  const unread = (path: string): unknown => ({
    uri: pathToFileURL(path).href,
    verdict: 'unread',
    globals: [],
    findings: [{ code: 'not_read', message: expect.stringMatching(new RegExp(`^${path} cannot be .*EACCES`)) }],
  });
  expect(files).toHaveLength(3);
  expect(files).toEqual(expect.arrayContaining([unread(closed), unread(shut), expect.objectContaining({ verdict: 'safe' })]));

  const alone = await scan('--json', closed);
  expect([alone.code, JSON.parse(alone.stdout)]).toEqual([1, { files: [unread(closed)] }]);
});
