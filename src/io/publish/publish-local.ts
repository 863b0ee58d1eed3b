/**
 * Publishing to a local file: written aside, synced, renamed, so that the name never stands for a partial file.
 *
 * Every attempt writes a partial file of its own name and says so in its progress. The next attempt takes that file over by
 * renaming it, reads what is there, compares its digest with the reported one, and goes on behind it. An attempt that is
 * believed dead but still runs finds its file gone before its next write, and fails. One that comes after the output was complete
 * leaves it as it is.
 */
import { randomUUID } from 'node:crypto';
import { link, lstat, realpath, rename, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CheckpointConfigError, CheckpointError, isCheckpointError } from '../../errors.ts';
import type { Layout } from '../../formats/layout.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import type { Plan } from '../../model/plan.ts';
import { copyLayout, ResumeMismatch, type Copied, type CopyOptions, type Progress } from '../copy/copy.ts';
import { cameDamaged } from '../copy/damage-on-the-way.ts';
import { isDiskFull } from '../local/full-disk.ts';
import { makeNewFolder, syncFolder } from '../local/folders.ts';
import { checkReplaceable, localPath } from '../local/local-file.ts';
import { keepsProgress } from '../attempt-end.ts';
import { openOutput } from './output-file.ts';
import { existsError, type Overwrite } from './overwrite.ts';
import { ownSource } from './own-source.ts';
import { discardPartials, finishedAs, leavePartials, noteMade, partialsFolder, partialsIn, recordFinished } from './partials.ts';
import { checkRoom, manifestRoom, noRoom } from './room.ts';

/** What file systems answer that have no links. */
const NO_LINKS: readonly string[] = ['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK'];

/** What an attempt reports, and the next one goes on from. */
export interface PartialProgress extends Progress {
  /** Name of the partial file, in the folder of this stage beside the output. */
  readonly partial: string;
}

export interface PublishOptions {
  readonly uri: string;
  readonly layout: Layout;
  readonly plan: Plan;
  readonly open: (file: PinnedFile) => Promise<ByteSource>;
  /** Marks the partial files of this stage of this run. */
  readonly token: string;
  /** Digest of all that the bytes follow from. */
  readonly content: string;
  readonly overwrite: Overwrite;
  /** What an earlier attempt reported last. */
  readonly resume?: PartialProgress;
  readonly onProgress: (progress: PartialProgress) => void;
  readonly signal: AbortSignal;
}

export interface LocalPublished extends Copied {
  /** Of the output as it was put in its place. */
  readonly identity: string;
}

export async function publishLocal(options: PublishOptions): Promise<LocalPublished> {
  const { layout, plan, signal, token, content, overwrite } = options;
  const path = localPath(options.uri);
  const finished = await finishedAs(path, token);
  if (finished?.content === content) return { ...finished.copied, identity: finished.identity };
  if (overwrite === 'never' && (await stat(path).catch(() => null)) !== null) throw existsError(options.uri);
  await checkDestination(path, plan.files);
  const name = randomUUID().slice(0, 8);
  const folder = partialsFolder(path, token);
  const partial = join(folder, name);
  try {
    const made = await makeNewFolder(folder);
    if (made !== undefined) await noteMade(folder, made);
    const taken = made === undefined ? await takeOver(options.resume, folder, partial) : undefined;
    if (made === undefined) await discardPartials(path, token, name);
    // At once: an attempt after this one looks for the file under the name that it has now.
    if (taken !== undefined) options.onProgress({ ...taken, partial: name });
    await checkRoom(path, layout.size - (taken?.offset ?? 0) + manifestRoom(layout.tensors));
    const copy = (resume: Progress | undefined): Promise<Copied> =>
      writeFile(
        partial,
        { layout, plan, signal, open: options.open, onProgress: (progress) => options.onProgress({ ...progress, partial: name }) },
        resume,
      );
    const copied = await copy(taken).catch(async (error: unknown) => {
      if (!(error instanceof ResumeMismatch)) throw error;
      await rm(partial, { force: true });
      return copy(undefined);
    });
    signal.throwIfAborted();
    const identity = await recordFinished(folder, name, { content, copied });
    if (overwrite === 'never') await putNew(partial, path);
    else await rename(partial, path);
    await syncFolder(dirname(path));
    return { ...copied, identity };
  } catch (error) {
    const explained = explain(error, path, layout.size);
    // Another attempt would take what was written of them for right, and go on behind it.
    if (cameDamaged(error)) await rm(partial, { force: true });
    if (!keepsProgress(signal, explained)) await leavePartials(path, token, name);
    throw explained;
  }
}

/** Gives the file its name where nobody has taken that meanwhile. */
async function putNew(partial: string, path: string): Promise<void> {
  try {
    await link(partial, path);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw existsError(path);
    // A file system without links has no such promise: a look is the best there is.
    if (!NO_LINKS.includes(code)) throw error;
    if ((await stat(path).catch(() => null)) !== null) throw existsError(path);
    return rename(partial, path);
  }
  await unlink(partial);
}

/**
 * Renames the partial file of an earlier attempt to ours if it has at least `resume.offset` bytes. If the reported name is gone and exactly one partial
 * file is there, it is that one: an attempt took it over and ended before it could say so. The digest is compared later.
 */
async function takeOver(resume: PartialProgress | undefined, folder: string, partial: string): Promise<Progress | undefined> {
  if (resume === undefined) return undefined;
  const names = await partialsIn(folder);
  const name = names.includes(resume.partial) ? resume.partial : names.length === 1 ? names[0]! : undefined;
  if (name === undefined) return undefined;
  const left = join(folder, name);
  const there = await lstat(left).catch(() => null);
  if (there === null || !there.isFile() || there.size < resume.offset || resume.offset === 0) return undefined;
  return rename(left, partial).then(
    () => resume,
    () => undefined,
  );
}

async function writeFile(
  partial: string,
  options: Pick<CopyOptions, 'layout' | 'plan' | 'open' | 'signal' | 'onProgress'>,
  resume: Progress | undefined,
): Promise<Copied> {
  const file = await openOutput(partial, { exists: resume !== undefined, size: options.layout.size });
  const readInto = async (offset: number, target: Uint8Array): Promise<void> => {
    if ((await file.readInto(offset, target)) < target.length) throw new ResumeMismatch();
  };
  try {
    const copied = await copyLayout({
      ...options,
      write: async (bytes, offset) => {
        // Taken over, it may be the output by now, and what pins that is also when it was written last.
        if (!(await file.isAt(partial))) throw takenOver(partial);
        await file.write(bytes, offset);
      },
      ...(resume === undefined ? {} : { resume: { ...resume, readInto } }),
    });
    await file.finish(options.layout.size);
    return copied;
  } finally {
    if (await file.isDamaged()) await rm(partial, { force: true });
    await file.close();
  }
}

function takenOver(partial: string): CheckpointError {
  return new CheckpointError(
    `${partial} is no longer there: a newer attempt goes on with it, or somebody has removed it. If no other attempt follows, run it again.`,
    {
      details: { partial },
    },
  );
}

/** Throws where a file cannot take that path, or would take the place of one that is read. */
export async function checkDestination(path: string, sources: readonly Pick<PinnedFile, 'uri'>[]): Promise<void> {
  await checkReplaceable(path);
  const there = await stat(path).catch(() => null);
  if (there === null) return;
  const real = await realpath(path);
  for (const { uri } of sources) {
    if (!uri.startsWith('file:')) continue;
    const source = await realpath(localPath(uri)).catch(() => null);
    const same = source === real || (source !== null && (await sameFile(source, there)));
    if (same) throw ownSource(path);
  }
}

async function sameFile(path: string, other: { readonly dev: number; readonly ino: number }): Promise<boolean> {
  const { dev, ino } = await stat(path);
  return dev === other.dev && ino === other.ino;
}

/** The operating system's refusals in words; our own errors and cancellation pass. */
function explain(error: unknown, path: string, size: number): unknown {
  if (isCheckpointError(error)) return error;
  if (isDiskFull(error)) return noRoom(path, size, null);
  switch ((error as NodeJS.ErrnoException).code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'ENOENT':
    case 'ELOOP':
    case 'ENOTDIR':
    case 'EEXIST':
    case 'EISDIR':
    case 'ENAMETOOLONG':
      return new CheckpointConfigError(`${path} cannot be written: ${(error as Error).message}.`, undefined, { cause: error });
    default:
      return error;
  }
}
