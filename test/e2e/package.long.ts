/** The package as users get it: packed, installed into an empty folder, and the quickstart run there by `npx ckpt`. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { PipelineResult } from '../../src/pipeline/contract.ts';
import { start } from '../support/cli.ts';
import { PROJECT_ROOT } from '../support/project.ts';

/** A bound against hangs: the packages of the SDK are large, and may come over the network. */
const LONG = 600_000;
/** Of the tarball, in bytes: two bundles of the workflows are most of it. */
const LARGEST = 3 * 2 ** 20;

interface Packed {
  readonly filename: string;
  readonly size: number;
  readonly files: readonly { readonly path: string }[];
}

let folder: string;
let packed: Packed;
const installed = (...path: string[]): string => join(folder, 'empty', 'node_modules', 'checkpoint-pipeline', ...path);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-package-'));
  await mkdir(join(folder, 'empty'));
  const { stdout } = await promisify(execFile)('npm', ['pack', '--json', '--pack-destination', folder], { cwd: PROJECT_ROOT });
  // What `prepack` says stands before it.
  packed = (JSON.parse(stdout.slice(stdout.indexOf('[\n'))) as Packed[])[0]!;
  await promisify(execFile)('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', join(folder, packed.filename)], {
    cwd: join(folder, 'empty'),
  });
}, LONG);
afterAll(() => rm(folder, { recursive: true, force: true }));

test('it holds what runs and what is read, and nothing else', async () => {
  const paths = packed.files.map(({ path }) => path);
  expect(paths).toEqual(
    expect.arrayContaining([
      'bin/ckpt.js',
      'dist/workflow-bundle.js',
      'dist/report-page.html',
      'dist/workflow-bundle-traced.js',
      'dist/src/index.d.ts',
      'dist/activities/sinks/publish.js',
      'completions/ckpt.zsh',
      'schema/pipeline.schema.json',
      'examples/quickstart.yaml',
      'docs/scaling.md',
      'bench/RESULTS.md',
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
    ]),
  );
  expect(paths.filter((path) => /^(dist\/)?(test|bench(?!\/RESULTS\.md)|scripts)\/|\.map$|(?<!\.d)\.ts$/.test(path))).toEqual([]);
  expect(packed.size).toBeLessThan(LARGEST);
});

test(
  '`npx ckpt run` of the quickstart works in an empty folder, with nothing to build',
  async () => {
    const cwd = join(folder, 'empty');
    for (const name of ['quickstart.yaml', 'lightning-trained.ckpt']) await copyFile(installed('examples', name), join(cwd, name));
    const before = await readdir(installed());
    const place = { cwd, env: { XDG_STATE_HOME: join(folder, 'state') } };
    const { code, stdout, stderr } = await start(['npx', '--no', '--', 'ckpt', 'run', 'quickstart.yaml', '--json'], place).ended;
    expect([code, stderr]).toEqual([0, '']);
    const { status, outputs } = JSON.parse(stdout) as PipelineResult;
    expect(status).toBe('completed');
    expect(outputs[0]!.uri).toBe(`file://${join(cwd, 'out', 'quickstart.safetensors')}`);
    expect(outputs[0]!.report).toBe(`${outputs[0]!.uri}.report.html`);
    expect(await readdir(installed())).toEqual(before);
    const { version } = JSON.parse(await readFile(join(PROJECT_ROOT, 'package.json'), 'utf8')) as { version: string };
    expect((await start(['npx', '--no', '--', 'ckpt', '--version'], place).ended).stdout.trim()).toBe(version);
    expect((await start(['npx', '--no', '--', 'ckpt', 'completion', 'bash'], place).ended).stdout).toContain('complete -o default');
    const refused = await start(['npx', '--no', '--', 'ckpt', 'validate', 'none.yaml'], place).ended;
    const [, page] = /\((\S+)#checkpointconfigerror\)\n$/.exec(refused.stderr)!;
    expect(await readFile(resolve(cwd, page!), 'utf8')).toContain('CheckpointConfigError');
  },
  LONG,
);

test('programs import the library and the plug-ins’ half of it', async () => {
  const script =
    "const a = await import('checkpoint-pipeline'), b = await import('checkpoint-pipeline/plugin'); console.log(typeof a.CheckpointClient, typeof b.defineStage)";
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { cwd: join(folder, 'empty') });
  expect(stdout.trim()).toBe('function function');
});
