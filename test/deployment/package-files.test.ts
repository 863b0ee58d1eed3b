/** What following the examples leaves in the project's folder is nobody else's: it is neither packed nor committed. */
import { execFile } from 'node:child_process';
import { copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { PROJECT_ROOT } from '../support/project.ts';

const LEFT = [
  'examples/out/quickstart.safetensors',
  'examples/plugin/out/parameters.safetensors',
  'examples/plugin/package-lock.json',
  'examples/plugin/node_modules/other/index.js',
];
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-files-'));
  for (const name of ['package.json', '.gitignore']) await copyFile(join(PROJECT_ROOT, name), join(folder, name));
  for (const name of ['index.js', 'package.json', 'pipeline.yaml', 'README.md'])
    await cp(join(PROJECT_ROOT, 'examples', 'plugin', name), join(folder, 'examples', 'plugin', name));
  for (const path of LEFT) {
    await mkdir(join(folder, dirname(path)), { recursive: true });
    await writeFile(join(folder, path), '{}');
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('`npm pack` takes the examples, and nothing that they have left', async () => {
  const { stdout } = await promisify(execFile)('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: folder });
  const [packed] = JSON.parse(stdout) as { readonly files: readonly { readonly path: string }[] }[];
  const paths = packed!.files.map(({ path }) => path).filter((path) => path.startsWith('examples/'));
  expect(paths.sort()).toEqual(['README.md', 'index.js', 'package.json', 'pipeline.yaml'].map((name) => `examples/plugin/${name}`));
});

test('pages of the package link to nothing that is not in it', async () => {
  const { stdout } = await promisify(execFile)('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: PROJECT_ROOT });
  const [packed] = JSON.parse(stdout) as { readonly files: readonly { readonly path: string }[] }[];
  const paths = packed!.files.map(({ path }) => path);
  const pages = await Promise.all(
    paths.filter((path) => path.endsWith('.md')).map(async (path) => [path, await readFile(join(PROJECT_ROOT, path), 'utf8')] as const),
  );
  const links = pages.flatMap(([page, text]) =>
    [...text.replaceAll(/```.*?```/gs, '').matchAll(/\]\(([^)\s#]+)[^)]*\)/g)]
      .map(([, target]) => target!)
      .filter((target) => !/^[a-z]+:/.test(target))
      .map((target) => [page, join(dirname(page), target).replace(/\/$/, '')] as const),
  );
  expect(links.length).toBeGreaterThan(50);
  expect(links.filter(([, target]) => !paths.some((path) => path === target || path.startsWith(`${target}/`)))).toEqual([]);
});

test('git ignores it', async () => {
  const git = (...args: readonly string[]): Promise<{ readonly stdout: string }> => promisify(execFile)('git', args, { cwd: folder });
  await git('init', '--quiet');
  const { stdout } = await git('ls-files', '--others', '--exclude-standard', 'examples');
  expect(stdout.trim().split('\n')).toHaveLength(4);
  expect(stdout).not.toMatch(/out\/|package-lock|node_modules/);
});
