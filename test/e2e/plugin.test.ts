/** The example plug-in, installed as its README says and used through the command line; and plug-ins that are none. */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { loadPlugins } from '../../activities/plugins.ts';
import { ckpt, type Ended } from '../support/cli.ts';
import { fixture, PROJECT_ROOT } from '../support/project.ts';
import { headerOf } from '../support/publish.ts';

let folder: string;
let plugin: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-plugin-'));
  plugin = join(folder, 'plugin');
  await cp(join(PROJECT_ROOT, 'examples', 'plugin'), plugin, { recursive: true, filter: (path) => !path.includes('node_modules') });
  const manifest = join(plugin, 'package.json');
  await writeFile(manifest, (await readFile(manifest, 'utf8')).replace('file:../..', `file:${PROJECT_ROOT}`));
  await promisify(execFile)('npm', ['install', '--offline', '--no-audit', '--no-fund', '--no-package-lock'], { cwd: plugin });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function run(...args: readonly string[]): Promise<Ended> {
  return ckpt(args, { cwd: folder, env: { XDG_STATE_HOME: join(folder, 'state') } }).ended;
}

test('`stages` shows it with its options', async () => {
  const { code, stdout } = await run('stages', '--plugins', plugin, '--json');
  expect(code).toBe(0);
  const { stages } = JSON.parse(stdout) as { stages: { type: string; options: { properties: object } }[] };
  expect(Object.keys(stages.find(({ type }) => type === 'modifier.drop_buffers')!.options.properties)).toEqual(['names']);
});

test('without `--plugins` its type is unknown, with it its options are checked', async () => {
  const document = join(plugin, 'pipeline.yaml');
  const without = await run('validate', document, '--param', 'source=x');
  expect(without.code).toBe(2);
  expect(without.stderr).toContain('modifier.drop_buffers');
  const wrong = join(plugin, 'wrong.yaml');
  await writeFile(wrong, (await readFile(document, 'utf8')).replace('modifier.drop_buffers', 'modifier.drop_buffers\n    name: x'));
  const checked = await run('validate', wrong, '--plugins', plugin, '--param', 'source=x');
  expect(checked.code).toBe(2);
  expect(checked.stderr).toContain('Did you mean `names`?');
});

test('one that cannot be loaded is none of the document', async () => {
  const broken = join(folder, 'broken.mjs');
  await writeFile(broken, 'export default {};');
  const { code, stderr } = await run('validate', join(plugin, 'pipeline.yaml'), '--plugins', broken, '--param', 'source=x');
  expect(code).toBe(2);
  expect(stderr).toMatch(/^CheckpointConfigError: The plug-in .*broken\.mjs has a stage whose `type` is undefined/);
});

test('a run uses it: buffers stay behind', async () => {
  const source = fixture('good/transfer_source.ckpt');
  const { code, stdout, stderr } = await run(
    'run',
    join(plugin, 'pipeline.yaml'),
    '--plugins',
    plugin,
    '--param',
    `source=${source}`,
    '--json',
  );
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ metadata: { modifiers_applied: [{ type: 'drop_buffers', num_dropped: 2 }] } });
  const names = (await headerOf(join(plugin, 'out', 'parameters.safetensors'))).weights.map(({ name }) => name);
  expect(names).not.toContain('norm.running_mean');
  expect(names).not.toContain('norm.num_batches_tracked');
  expect(names).toHaveLength(7);
});

test('in the process of one run, nobody looks at the promises that stages make', async () => {
  await writeFile(
    join(plugin, 'watched.mjs'),
    `import { defineStage, modifyPlan, z } from 'checkpoint-pipeline/plugin';
    let looks = 0;
    class Watched extends Promise {}
    Object.defineProperty(Watched, 'constructor', { get: () => (looks++, Function) });
    export default defineStage({
      type: 'modifier.watched',
      description: 'Counts who looks at its promises',
      options: z.strictObject({}),
      run: async (call) => {
        await new Watched((resolve) => setTimeout(resolve, 1));
        return modifyPlan(call, (plan) => ({ plan, entry: { type: 'watched', looks }, summary: '' }));
      },
    });`,
  );
  const document = join(plugin, 'watched.yaml');
  const text = await readFile(join(plugin, 'pipeline.yaml'), 'utf8');
  await writeFile(document, text.replace('modifier.drop_buffers', 'modifier.watched').replace('out/', 'watched/'));
  const source = fixture('good/transfer_source.ckpt');
  const { code, stdout } = await run('run', document, '--plugins', join(plugin, 'watched.mjs'), '--param', `source=${source}`, '--json');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ metadata: { modifiers_applied: [{ type: 'watched', looks: 0 }] } });
});

const ZOD = `import { z } from ${JSON.stringify(pathToFileURL(join(PROJECT_ROOT, 'node_modules', 'zod', 'index.js')).href)};`;
const sound = "options: z.strictObject({}), run: async () => {}, description: 'x'";

/** A package with a plug-in and a module that is none. */
async function packageOf(name: string, manifest: object): Promise<string> {
  const place = join(folder, name.replaceAll(' ', '-'));
  await mkdir(place);
  await writeFile(join(place, 'package.json'), JSON.stringify(manifest));
  await writeFile(join(place, 'stage.mjs'), `${ZOD} export default { type: 'modifier.packed', ${sound} };`);
  await writeFile(join(place, 'other.mjs'), "throw new Error('nobody has named this module');");
  return place;
}

test.each<[string, object]>([
  ['main', { main: 'stage.mjs' }],
  ['exports as a text', { exports: './stage.mjs', main: 'other.mjs' }],
  ['exports as conditions', { exports: { types: './stage.d.ts', import: './stage.mjs' } }],
  ['exports of the main path', { exports: { './other': './other.mjs', '.': './stage.mjs' } }],
  ['exports of the main path by import', { exports: { '.': { import: './stage.mjs', default: './other.mjs' } } }],
  ['exports of the main path by default', { exports: { '.': { require: './other.mjs', default: './stage.mjs' } } }],
  ['exports of the main path by conditions within', { exports: { '.': { import: { types: './stage.d.ts', default: './stage.mjs' } } } }],
])('a package names its module: %s', async (name, manifest) => {
  expect((await loadPlugins([await packageOf(name, manifest)])).map(({ type }) => type)).toEqual(['modifier.packed']);
});

describe('what is not a plug-in is refused with its place', () => {
  test.each<[string, string, string]>([
    ['no default export', 'export const x = 1;', 'exports no stage'],
    ['a type of no kind', `${ZOD} export default { type: 'other.x', ${sound} };`, 'expected such as'],
    [
      'options that no document can give',
      `${ZOD} export default { type: 'modifier.x', description: 'x', options: z.strictObject({ day: z.date() }), run() {} };`,
      'has `options` of modifier.x that JSON cannot have (Date cannot be represented in JSON Schema)',
    ],
    [
      'an option that steers any stage',
      `${ZOD} export default { type: 'modifier.x', description: 'x', options: z.union([z.strictObject({ timeout: z.number() })]), run() {} };`,
      'has `options` of modifier.x with `timeout` among them',
    ],
    ['no run', "export default { type: 'modifier.x', description: 'x', options: {} };", 'no `run`'],
    ['no schema', "export default { type: 'modifier.x', description: 'x', options: {}, run() {} };", 'no zod schema'],
    ['no description', "export default { type: 'modifier.x', options: {}, run() {} };", 'description'],
    ['code that throws', "throw new Error('boom');", 'boom'],
  ])('%s', async (name, code, says) => {
    const file = join(folder, `${name.replaceAll(' ', '-')}.mjs`);
    await writeFile(file, code);
    await expect(loadPlugins([file])).rejects.toMatchObject({
      code: 'CheckpointConfigError',
      message: expect.stringContaining(says) as unknown,
    });
  });
  test.each<[string, object]>([
    ['subpaths alone', { exports: { './other': './stage.mjs' } }],
    ['conditions of others', { exports: { '.': { require: './stage.mjs' } }, main: 'stage.mjs' }],
  ])('a package whose `exports` name no main module: %s', async (name, manifest) => {
    const place = await packageOf(name, manifest);
    await expect(loadPlugins([place])).rejects.toMatchObject({
      code: 'CheckpointConfigError',
      message: expect.stringContaining(`${place} has \`exports\` without a main module`) as unknown,
    });
  });
  test('a module or folder that is not there, and one stage twice', async () => {
    await expect(loadPlugins([join(folder, 'nowhere')])).rejects.toThrow('There is no plug-in');
    const twice = [join(folder, 'a.mjs'), join(folder, 'b.mjs')];
    for (const file of twice) await writeFile(file, `${ZOD} export default { type: 'sink.x', ${sound} };`);
    await expect(loadPlugins(twice)).rejects.toThrow('Two plug-ins define sink.x');
  });
});
