/**
 * Publishing to a local file: written aside, synced, renamed, so that the name never stands for a partial file.
 *
 * Invariant: a call that throws leaves nothing behind, and neither does a killed one once `discardPartial` or the next attempt
 * has run: all attempts of a stage share one partial file, named by its token.
 */
import { mkdir, open, realpath, rename, rm, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CheckpointConfigError, CheckpointError, isCheckpointError } from '../errors.ts';
import type { Layout } from '../formats/layout.ts';
import type { ByteSource, PinnedFile } from '../model/byte-source.ts';
import type { Plan } from '../model/plan.ts';
import { copyLayout, type Copied } from './copy.ts';
import { localPath } from './local-file.ts';

export interface PublishOptions {
  readonly uri: string;
  readonly layout: Layout;
  readonly plan: Plan;
  readonly open: (file: PinnedFile) => Promise<ByteSource>;
  /** Names the partial file of this stage of this run. */
  readonly token: string;
  readonly heartbeat: (progress: { readonly offset: number; readonly size: number }) => void;
  readonly signal: AbortSignal;
}

export async function publishLocal(options: PublishOptions): Promise<Copied> {
  const { layout, plan, signal } = options;
  const path = localPath(options.uri);
  await checkDestination(path, plan);
  const partial = partialPath(path, options.token);
  try {
    await mkdir(dirname(path), { recursive: true });
    await checkRoom(path, layout.size);
    const file = await open(partial, 'w');
    let copied: Copied;
    try {
      copied = await copyLayout({
        layout,
        plan,
        open: options.open,
        signal,
        write: async (bytes) => {
          let done = 0;
          while (done < bytes.length) done += (await file.write(bytes, done, bytes.length - done)).bytesWritten;
        },
        onBlock: async (offset) => options.heartbeat({ offset, size: layout.size }),
      });
      await file.sync();
    } finally {
      await file.close();
    }
    signal.throwIfAborted();
    await rename(partial, path);
    await syncFolder(dirname(path));
    return copied;
  } catch (error) {
    await rm(partial, { force: true }).catch(() => undefined);
    throw explain(error, path, layout.size);
  }
}

/** Removes what a killed attempt may have left; nothing there is fine. */
export async function discardPartial(uri: string, token: string): Promise<void> {
  await rm(partialPath(localPath(uri), token), { force: true }).catch(() => undefined);
}

function partialPath(path: string, token: string): string {
  return join(dirname(path), `.${basename(path)}.${token}.partial`);
}

async function checkDestination(path: string, plan: Plan): Promise<void> {
  const there = await stat(path).catch(() => null);
  if (there === null) return;
  if (there.isDirectory()) throw new CheckpointConfigError(`${path} is a folder; \`uri\` must name the file to write.`);
  const real = await realpath(path);
  for (const { uri } of plan.files) {
    if (!uri.startsWith('file:')) continue;
    const source = await realpath(localPath(uri)).catch(() => null);
    const same = source === real || (source !== null && (await sameFile(source, there)));
    if (same) throw new CheckpointConfigError(`${path} is the source itself: publishing over it would destroy it. Choose another \`uri\`.`);
  }
}

async function sameFile(path: string, other: { readonly dev: number; readonly ino: number }): Promise<boolean> {
  const { dev, ino } = await stat(path);
  return dev === other.dev && ino === other.ino;
}

async function checkRoom(path: string, size: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(path));
  const free = bavail * bsize;
  if (free < size) throw noRoom(path, size, free);
}

function noRoom(path: string, size: number, free: number | null): CheckpointError {
  return new CheckpointError(
    `No room to publish ${path}: ${size} bytes are needed${free === null ? '' : `, ${free} are free`}. Free some space or choose another \`uri\`.`,
    {
      retryable: false,
      details: { path, needed_bytes: size, free_bytes: free },
    },
  );
}

/** The operating system's refusals in words; our own errors and cancellation pass. */
function explain(error: unknown, path: string, size: number): unknown {
  if (isCheckpointError(error)) return error;
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return noRoom(path, size, null);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'ENOTDIR':
    case 'EEXIST':
    case 'EISDIR':
    case 'ENAMETOOLONG':
      return new CheckpointConfigError(`${path} cannot be written: ${(error as Error).message}.`, undefined, { cause: error });
    default:
      return error;
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  await folder.sync().finally(() => folder.close());
}
