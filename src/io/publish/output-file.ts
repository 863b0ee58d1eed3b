/**
 * The file that a transfer fills: past the page cache where the system allows it, else through it.
 *
 * What is published must be on the disk before it gets its name, so a copy of it in the page cache saves no time; it costs one pass
 * over the bytes, pushes out of memory what others read from it, and counts against a container's limit. Past the cache, the disk
 * takes each block as it is, and the last sync has next to nothing left to do.
 *
 * Invariant: either way holds the same bytes; a file system or memory that does not bear direct writes is found out by the first
 * of them, which is then repeated through the cache.
 */
import { constants, type Stats } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';

/** Place, length and memory of a direct write are multiples of this: the largest block of disks in use. */
const ALIGNMENT = 4096;
/** Bytes through the cache between two requests to put on the disk what was written. */
const FLUSH_EVERY = 64 * 1024 * 1024;

export interface OutputFile {
  /** Several at a time are fine. */
  write(bytes: Uint8Array, offset: number): Promise<void>;
  /** Whether the path still names it. */
  isAt(path: string): Promise<boolean>;
  /** The number of bytes that are there of those asked for. */
  readInto(offset: number, target: Uint8Array): Promise<number>;
  /** Cuts the file at its size and waits until all of it is on the disk; rejects where any of it could not be put there, whenever that was. */
  finish(size: number): Promise<void>;
  /** Whether some of it could not be put on the disk. Read from memory it may be right all the same, so nobody can go on with it. */
  isDamaged(): Promise<boolean>;
  close(): Promise<void>;
}

/** Creates the file, or opens what an earlier attempt left. `size` is what it will have: one without a whole block has nothing to write directly. */
export async function openOutput(path: string, { exists, size }: { readonly exists: boolean; readonly size: number }): Promise<OutputFile> {
  const file = await open(path, exists ? 'r+' : 'wx+');
  const flush = flushing(file);
  let own: Stats | undefined;
  let direct = await (size < ALIGNMENT ? undefined : openDirect(path))?.catch(async (error: unknown) => {
    await file.close();
    throw error;
  });
  /** Those that did not bear it; others may still write to them, so they are closed with the file. */
  const refused: FileHandle[] = [];

  /** The number of bytes that the disk took: of a full one fewer, of one that does not bear it none. */
  async function writeDirect(handle: FileHandle, bytes: Uint8Array, offset: number): Promise<number> {
    try {
      return (await handle.write(bytes, 0, bytes.length, offset)).bytesWritten;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (direct === handle) refused.push(handle);
      direct = undefined;
      return 0;
    }
  }

  return {
    async write(bytes, offset) {
      const whole = direct === undefined || offset % ALIGNMENT !== 0 ? 0 : bytes.length - (bytes.length % ALIGNMENT);
      let done = whole === 0 ? 0 : await writeDirect(direct!, bytes.subarray(0, whole), offset);
      if (done === bytes.length) return;
      const cached = bytes.length - done;
      while (done < bytes.length) done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
      flush.wrote(cached);
    },
    async isAt(named) {
      const there = await stat(named).catch(() => null);
      return there !== null && there.ino === (own ??= await file.stat()).ino && there.dev === own.dev;
    },
    async readInto(offset, target) {
      let done = 0;
      while (done < target.length) {
        const { bytesRead } = await file.read(target, done, target.length - done, offset + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return done;
    },
    async finish(size) {
      await file.truncate(size);
      await flush.done();
    },
    isDamaged: flush.failed,
    async close() {
      await flush.failed();
      await Promise.all([file, ...(direct === undefined ? [] : [direct]), ...refused].map((handle) => handle.close()));
    },
  };
}

/** Undefined where the system or the file system has no such thing. */
async function openDirect(path: string): Promise<FileHandle | undefined> {
  // Not on every system, whatever its type says.
  const flag = constants.O_DIRECT as number | undefined;
  if (flag === undefined) return undefined;
  return open(path, constants.O_WRONLY | flag).catch((error: unknown) => {
    if (isRefusal(error)) return undefined;
    throw error;
  });
}

/** What systems answer to a direct write that they do not bear: of this file system, or from this memory. */
function isRefusal(error: unknown): boolean {
  return ['EINVAL', 'ENOTSUP', 'EOPNOTSUPP'].includes((error as NodeJS.ErrnoException).code ?? '');
}

/**
 * Starts writing to the disk while the rest is still being copied, so that the last sync has little left to wait for.
 *
 * A system tells once that it could not put something on the disk, to whoever asks first, and counts it as done from then on: so the first failure
 * is kept for the end.
 */
function flushing(file: FileHandle): { wrote(bytes: number): void; done(): Promise<void>; failed(): Promise<boolean> } {
  let unflushed = 0;
  let running: Promise<void> | undefined;
  let failure: { readonly error: unknown } | undefined;
  const keeping = (flushed: Promise<void>): Promise<void> =>
    flushed.catch((error: unknown) => {
      failure ??= { error };
    });
  return {
    wrote(bytes) {
      unflushed += bytes;
      if (unflushed < FLUSH_EVERY || running !== undefined) return;
      unflushed = 0;
      running = keeping(file.datasync()).finally(() => (running = undefined));
    },
    async done() {
      await running;
      await keeping(file.sync());
      if (failure !== undefined) throw failure.error;
    },
    async failed() {
      await running;
      return failure !== undefined;
    },
  };
}
