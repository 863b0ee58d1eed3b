/** Local files as byte sources: pinned when opened, checked at every read. */
import { constants, type BigIntStats, type Stats } from 'node:fs';
import { open, readdir, readlink, realpath, stat, type FileHandle } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { CheckpointConfigError, CheckpointLoadError, CheckpointNotFoundError, CheckpointSourceError, isOutOfFiles } from '../../errors.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import { nearCheckpoints } from '../../model/checkpoint-names.ts';
import { schemeOf } from '../../model/scheme.ts';
import { NO_FENCE, type LocalFence } from '../storage/fence.ts';

/** Bytes of a file that is read as a whole: a manifest of 600 000 tensors, as many as are read, has some 110 MB. */
export const SMALL_MOST = 128 * 2 ** 20;

/**
 * The absolute path of a path (`~/` is the home of whoever runs this) or `file://` URI, by which it is checked, opened, written and listed;
 * other schemes are a `CheckpointConfigError`.
 *
 * Without `..`: a system follows a link before it goes up from there, a URI never does, and both must name one place. A slash at the end stays.
 */
export function localPath(uri: string): string {
  const path = schemeOf(uri) === 'file' ? pathOf(uri) : uri;
  if (schemeOf(path) !== null) throw new CheckpointConfigError(`${uri} is not a local path. Supported here: a path or file:// URI.`);
  if (path.includes('\0')) throw new CheckpointConfigError(`${JSON.stringify(uri)} is not a local path: it has a NUL character in it.`);
  return `${resolve(withHome(path))}${/.\/$/.test(path) ? '/' : ''}`;
}

function pathOf(uri: string): string {
  try {
    return fileURLToPath(uri);
  } catch (cause) {
    const why = (cause as Error).message;
    throw new CheckpointConfigError(`${uri} is not a URI of a local file (${why}). Expected file:// and an absolute path.`, undefined, {
      cause,
    });
  }
}

/** `~` and `~/…` as shells take them. */
export function withHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path;
}

export function localUri(uri: string): string {
  return pathToFileURL(localPath(uri)).href;
}

/** What pins a local file: size, modification time in nanoseconds, inode. */
export function localIdentity(stats: BigIntStats): string {
  return `${stats.size}-${stats.mtimeNs}-${stats.ino}`;
}

/** Whether the system says that nothing is there. All else it says (too many open files, a disk or a server of files in trouble) tells nothing of the file. */
export function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');
}

/** Null where there is none. */
export async function identityOf(path: string): Promise<string | null> {
  const stats = await stat(path, { bigint: true }).catch(() => null);
  return stats === null ? null : localIdentity(stats);
}

/** `details.reason` of a file that this user may not read: nothing is known of its content. */
export const UNREADABLE = 'unreadable';
/** What the system says of a file or folder that this user may not read. */
export const FORBIDDEN: readonly string[] = ['EACCES', 'EPERM'];
/** What it says of what is not a file with a text in it, for as long as nobody changes that. */
const NO_TEXT: readonly string[] = [...FORBIDDEN, 'ENXIO', 'ENODEV', 'ELOOP', 'ENAMETOOLONG'];

/** Opens a file as it is now: `CheckpointNotFoundError` with near names, `CheckpointLoadError` for a folder or no permission. */
export async function openLocalFile(uri: string, fence: LocalFence = NO_FENCE): Promise<ByteSource> {
  const path = localPath(uri);
  await fence.checkPath(path);
  const href = pathToFileURL(path).href;
  const handle = await openAtOnce(path).catch(async (cause: NodeJS.ErrnoException) => {
    if (isAbsent(cause)) throw await notFound(path, cause);
    if (isOutOfFiles(cause)) throw cause;
    const forbidden = FORBIDDEN.includes(cause.code ?? '');
    const details = forbidden ? { reason: UNREADABLE } : {};
    throw new CheckpointLoadError(`${path} cannot be opened: ${cause.message}.`, path, { cause, details });
  });
  await fence.checkOpened(handle, path).catch(async (refused: unknown) => {
    await handle.close();
    throw refused;
  });
  const stats = await handle.stat({ bigint: true });
  if (!stats.isFile()) {
    await handle.close();
    throw new CheckpointLoadError(
      `${path} is ${stats.isDirectory() ? 'a folder' : 'not a regular file'}; expected a checkpoint file.`,
      path,
    );
  }
  const size = Number(stats.size);
  const identity = localIdentity(stats);

  async function readInto(offset: number, target: Uint8Array): Promise<void> {
    if (offset < 0 || offset + target.length > size) {
      throw new CheckpointLoadError(
        `${href}: bytes ${offset} to ${offset + target.length} lie past its end at ${size}. The file is truncated.`,
        href,
      );
    }
    let done = 0;
    while (done < target.length) {
      const { bytesRead } = await handle.read(target, done, target.length - done, offset + done).catch((cause: Error) => {
        throw new CheckpointSourceError(`${href}: reading at ${offset + done} failed: ${cause.message}.`, href, { cause });
      });
      if (bytesRead === 0) throw changed(href, `it ended at ${offset + done}, expected ${size} bytes`);
      done += bytesRead;
    }
  }

  return {
    uri: href,
    size,
    identity,
    readInto,
    async read(offset, length) {
      if (offset < 0 || offset + length > size) {
        throw new CheckpointLoadError(
          `${href}: bytes ${offset} to ${offset + length} lie past its end at ${size}. The file is truncated.`,
          href,
        );
      }
      const bytes = new Uint8Array(length);
      await readInto(offset, bytes);
      return bytes;
    },
    async close() {
      const now = await handle.stat({ bigint: true }).finally(() => handle.close());
      if (localIdentity(now) !== identity) throw changed(href, 'its size or modification time differs');
    },
  };
}

/** Opens for reading without waiting: a pipe that nobody writes to would hold one of the few threads that open files, for ever. */
export function openAtOnce(path: string): Promise<FileHandle> {
  // Not every system has the flag.
  return open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
}

/** The text of a small file as a whole; null where there is none, `CheckpointLoadError` where it is not a regular file, too large, or cannot be read. */
export async function smallText(path: string): Promise<string | null> {
  const unreadable = (why: string, cause?: unknown): CheckpointLoadError =>
    new CheckpointLoadError(`${path} cannot be read: ${why}.`, path, { cause });
  const handle = await openAtOnce(path).catch((cause: NodeJS.ErrnoException) => {
    if (isAbsent(cause)) return null;
    throw unreadable(cause.message, cause);
  });
  if (handle === null) return null;
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw unreadable(`it is ${stats.isDirectory() ? 'a folder' : 'not a regular file'}, expected a small text file`);
    if (stats.size > SMALL_MOST) throw unreadable(`it has ${stats.size} bytes, at most ${SMALL_MOST} were expected`);
    return await handle.readFile('utf8').catch((cause: Error) => {
      throw unreadable(cause.message, cause);
    });
  } finally {
    await handle.close();
  }
}

/** The same; null also where it is something else, or may not be read. What the system may say otherwise the next time is a `CheckpointSourceError`. */
export function regularText(path: string): Promise<string | null> {
  return smallText(path).catch(({ message, cause }: CheckpointLoadError) => {
    if (cause === undefined || NO_TEXT.includes((cause as NodeJS.ErrnoException).code ?? '')) return null;
    throw new CheckpointSourceError(message, path, { cause });
  });
}

/** Folders with a slash in which the system keeps devices and what it tells of itself; the one of shared memory is for files. */
const OF_THE_SYSTEM = /^\/(dev\/(?!shm\/)|proc\/|sys\/)/;

/**
 * Throws where no file could take that path, which `option` names: something else is there, or a rename would take away what programs
 * find by that name, as `/dev/stdout`, whatever that leads to now.
 */
export async function checkReplaceable(path: string, option = 'uri'): Promise<void> {
  const there = await stat(path).catch(() => null);
  if (there !== null && !there.isFile())
    throw new CheckpointConfigError(`${path} is ${kindOf(there)}; \`${option}\` must name the file to write.`);
  const folder = await realpath(dirname(path)).catch(() => dirname(path));
  if (!OF_THE_SYSTEM.test(`${folder}/`)) return;
  throw new CheckpointConfigError(`${path} lies in ${folder}, where the system keeps devices; \`${option}\` must name a file elsewhere.`);
}

/** Of what is there and is not a regular file. */
export function kindOf(there: Stats): string {
  return there.isDirectory() ? 'a folder' : 'a device, a pipe or a socket';
}

/** Opens exactly the version that was pinned, or throws `CheckpointSourceError`. */
export async function openPinned(file: PinnedFile, fence?: LocalFence): Promise<ByteSource> {
  const source = await openLocalFile(file.uri, fence);
  if (source.identity === file.identity) return source;
  await source.close();
  throw changed(file.uri, `identity is ${source.identity}, expected ${file.identity}`);
}

function changed(uri: string, how: string): CheckpointSourceError {
  return new CheckpointSourceError(`${uri} changed since it was pinned: ${how}. Run the pipeline again when nothing writes to it.`, uri, {
    retryable: false,
  });
}

async function notFound(path: string, cause: Error): Promise<CheckpointNotFoundError> {
  const folder = dirname(path);
  const leadsTo = await readlink(path).catch(() => null);
  if (leadsTo !== null)
    return new CheckpointNotFoundError(`There is no file ${path}: it is a link to ${leadsTo}, which is not there.`, path, { cause });
  const names = await readdir(folder).catch(() => null);
  if (names === null) {
    const exists = await stat(folder).then(
      () => true,
      () => false,
    );
    return new CheckpointNotFoundError(
      `There is no file ${path}: its folder ${folder} ${exists ? 'cannot be read' : 'does not exist'}.`,
      path,
      { cause },
    );
  }
  const near = nearCheckpoints(basename(path), names);
  const hint = near.length === 0 ? ' The folder holds no checkpoint.' : ` The folder holds: ${near.join(', ')}.`;
  return new CheckpointNotFoundError(`There is no file ${path}.${hint}`, path, { cause, details: { near } });
}
