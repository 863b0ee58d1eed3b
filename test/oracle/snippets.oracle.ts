/** Every Python snippet of README.md and docs/ is run, over files that our command line has made of a training by Lightning. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ckpt } from '../support/cli.ts';
import { PROJECT_ROOT } from '../support/project.ts';

const SNIPPETS = ['README.md', ...readdirSync(join(PROJECT_ROOT, 'docs')).map((name) => `docs/${name}`)]
  .filter((page) => page.endsWith('.md'))
  .flatMap((page) =>
    [...readFileSync(join(PROJECT_ROOT, page), 'utf8').matchAll(/^```python\n(.*?)^```/gms)].map(
      ([, code], index) => [page, index + 1, code!] as const,
    ),
  );

/** The training state stays, as the snippets go on with it. */
const COMMANDS = [
  ['run', 'frozen.yaml'],
  ['convert', 'trained.ckpt', 'model.safetensors', '--shard-size', '200B'],
  ['convert', 'trained.ckpt', 'clean.ckpt'],
  ['convert', 'trained.ckpt', 'model.pt', '--training-state'],
];

const FROZEN = `
name: frozen
stages:
  - {type: source.local, path: trained.ckpt}
  - {type: loader.weights_only}
  - {type: modifier.freezing, submodules_to_freeze: [net.0]}
  - {type: sink.publish, uri: weights.safetensors}
`;

let folder: string;
let ran: readonly { readonly checked: readonly string[]; readonly error: string | null }[];

function python(question: string, input = ''): unknown {
  const program = process.env['ORACLE_PYTHON'];
  if (program === undefined) throw new Error('ORACLE_PYTHON is not set: run `npm run test:oracle`');
  const args = [join(PROJECT_ROOT, 'test', 'oracle', 'snippets.py'), question, folder];
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, input, encoding: 'utf8' });
  expect([status, status === 0 ? '' : stderr]).toEqual([0, '']);
  return JSON.parse(stdout.trim().split('\n').at(-1)!);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-oracle-snippets-'));
  python('train');
  await writeFile(join(folder, 'frozen.yaml'), FROZEN);
  const place = { cwd: folder, env: { XDG_STATE_HOME: join(folder, 'state') } };
  for (const command of COMMANDS) {
    const { code, stdout, stderr } = await ckpt([...command, '--json'], place).ended;
    expect([command, code, code === 0 ? stderr : stdout]).toEqual([command, 0, '']);
  }
  // The pages call it by several names.
  await mkdir(join(folder, 'out'));
  for (const name of ['start.safetensors', 'out/weights.safetensors'])
    await copyFile(join(folder, 'weights.safetensors'), join(folder, name));
  // In one process, as it takes longest to load torch.
  ran = python('run', JSON.stringify(SNIPPETS.map(([, , code]) => code))) as typeof ran;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test.each(SNIPPETS.map(([page, number], index) => [page, number, index] as const))('%s, snippet %d', (_page, _number, index) => {
  const { checked, error } = ran[index]!;
  expect(error).toBeNull();
  expect(checked.length).toBeGreaterThan(0);
});

test('there are snippets', () => expect(new Set(SNIPPETS.map(([page]) => page)).size).toBeGreaterThan(2));
