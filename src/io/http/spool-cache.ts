/**
 * Whole copies of files from servers without ranges: named by their SHA-256, so that a copy is never of two versions and is
 * found again by what a run has pinned.
 *
 * Bounded: the copies used longest ago go first, and what an interrupted transfer left goes after a day. A copy that is open stays readable
 * when it is removed.
 */
import { rmSync } from 'node:fs';
import { open, readdir, rename, rm, stat, utimes, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { atEnd } from '../at-end.ts';
import { makeFolder } from '../local/folders.ts';
import { StoreFault } from '../store-fault.ts';

/** Bytes of all copies together, unless the settings say otherwise. */
const CACHE_BYTES = 64 * 2 ** 30;
/** Milliseconds after which a partial copy is nobody's. */
const PARTIAL_STALE = 24 * 3600 * 1000;
/** Milliseconds without a write after which another transfer may take a partial copy over. */
const PARTIAL_IDLE = 60_000;

/** A share of the cache too small to make the difference: one of so many. */
const LITTLE = 16;

export interface Spooled {
  readonly sha256: string;
  readonly size: number;
  readonly handle: FileHandle;
}

export interface SpoolCache {
  readonly limit: number;
  /** The copy with that digest, if it is there. */
  open(sha256: string): Promise<Spooled | null>;
  /**
   * A new partial file, or one that an interrupted transfer of the same version has left. It goes with this process, unless it is handed on or
   * kept before. `key` names the version, and begins as those of all versions of its file do.
   */
  begin(key: string): Promise<{ readonly path: string; readonly taken: boolean }>;
  /**
   * Makes room for a partial file to grow to `size` bytes, and up to `wanted` where it does not know its length; gives how many there are.
   * A `StoreFault` where that is more than the cache may hold, or there is none now.
   */
  makeRoom(partial: string, size: number, wanted?: number): Promise<number>;
  /** Leaves a partial file to whichever transfer comes next. */
  handOn(partial: string): Promise<void>;
  /** Removes a partial file that nobody would go on with. */
  drop(partial: string): Promise<void>;
  /** Removes what transfers have handed on whose keys begin so. */
  forget(prefix: string): Promise<void>;
  /** Turns a partial file into the copy with that digest. */
  keep(partial: string, sha256: string): Promise<Spooled>;
}

export function createSpoolCache(folder: string, limit: number = CACHE_BYTES, now: () => number = Date.now): SpoolCache {
  const pathOf = (sha256: string): string => join(folder, sha256);
  const isPartial = ({ name }: { readonly name: string }): boolean => name.endsWith('.partial');
  /** Partial files that this process writes, with the sizes that they will have as far as that is known. */
  const promised = new Map<string, number>();
  let letGo: (() => void) | undefined;

  function hold(partial: string): void {
    promised.set(partial, 0);
    letGo ??= atEnd(() => [...promised.keys()].forEach((path) => rmSync(path, { force: true })), { yields: true });
  }

  function release(partial: string): void {
    promised.delete(partial);
    if (promised.size > 0) return;
    letGo?.();
    letGo = undefined;
  }

  const isFree = ({ path, used }: { readonly path: string; readonly used: number }): boolean =>
    !promised.has(path) && now() - used >= PARTIAL_IDLE;

  async function files(): Promise<{ path: string; name: string; size: number; used: number }[]> {
    const names = await readdir(folder).catch(() => []);
    const found = await Promise.all(
      names.map(async (name) => {
        const path = join(folder, name);
        const stats = await stat(path).catch(() => null);
        return stats === null ? [] : [{ path, name, size: stats.size, used: stats.mtimeMs }];
      }),
    );
    return found.flat();
  }

  async function openCopy(sha256: string): Promise<Spooled | null> {
    const handle = await open(pathOf(sha256), 'r').catch(() => null);
    if (handle === null) return null;
    const time = new Date(now());
    await utimes(pathOf(sha256), time, time).catch(() => undefined);
    return { sha256, size: (await handle.stat()).size, handle };
  }

  return {
    limit,
    open: openCopy,
    async begin(key) {
      await makeFolder(folder);
      const path = join(folder, `${key}.${process.pid}.${Math.random().toString(36).slice(2, 10)}.partial`);
      for (const file of await files()) {
        if (!file.name.startsWith(`${key}.`) || !isPartial(file) || !isFree(file)) continue;
        // Others see at once that it is somebody's. Who renames it has it: two cannot.
        await utimes(file.path, new Date(now()), new Date(now())).catch(() => undefined);
        const taken = await rename(file.path, path).then(
          () => true,
          () => false,
        );
        if (!taken) continue;
        hold(path);
        return { path, taken };
      }
      hold(path);
      return { path, taken: false };
    },
    async makeRoom(partial, size, wanted = size) {
      if (size > limit) throw tooLarge(size, limit);
      // Before anything is awaited: two transfers at a time see each other's.
      promised.set(partial, Math.min(limit, wanted));
      const all = (await files()).sort((a, b) => a.used - b.used);
      const left = all.filter((file) => isPartial(file) && !promised.has(file.path));
      const sizes = new Map(promised);
      for (const file of all) sizes.set(file.path, Math.max(file.size, promised.get(file.path) ?? 0));
      sizes.delete(partial);
      const room = (): number => limit - [...sizes.values()].reduce((sum, each) => sum + each, 0);
      const drop = async ({ path }: { readonly path: string }): Promise<void> => {
        await rm(path, { force: true });
        sizes.delete(path);
      };
      for (const file of left) if (now() - file.used > PARTIAL_STALE) await drop(file);
      for (const file of all) if (!isPartial(file) && room() < Math.min(limit, wanted)) await drop(file);
      // What somebody might still go on with gives way to what is going on.
      for (const file of left) if (now() - file.used > PARTIAL_IDLE && room() < size) await drop(file);
      const free = room();
      if (free >= size) {
        promised.set(partial, Math.min(limit, wanted, free));
        return Math.min(limit, wanted, free);
      }
      promised.set(partial, 0);
      // Of unknown length, and the others are not what fills the cache.
      if (wanted > size && limit - free <= limit / LITTLE) throw tooLarge(size, free);
      throw new StoreFault(`other transfers fill the cache of ${limit} bytes`, { code: 'CacheFull', retryable: true });
    },
    async handOn(partial) {
      // Longer ago than anybody waits for: whoever comes may take it at once, in another process, too.
      const idle = new Date(now() - 2 * PARTIAL_IDLE);
      await utimes(partial, idle, idle).catch(() => undefined);
      release(partial);
    },
    async drop(partial) {
      await rm(partial, { force: true });
      release(partial);
    },
    async forget(prefix) {
      for (const file of await files())
        if (file.name.startsWith(prefix) && isPartial(file) && isFree(file)) await rm(file.path, { force: true });
    },
    async keep(partial, sha256) {
      await rename(partial, pathOf(sha256));
      release(partial);
      const kept = await openCopy(sha256);
      if (kept === null)
        throw new StoreFault('the cached copy was removed right after the download; is `cache_bytes` too small?', {
          code: 'CacheLost',
          retryable: true,
        });
      return kept;
    },
  };
}

function tooLarge(size: number, room: number): StoreFault {
  return new StoreFault(
    `the server has no ranges, and its ${size} bytes or more are above the ${room} bytes that the cache has room for; raise \`http.cache_bytes\` in the worker's storage settings`,
    { code: 'TooLarge', retryable: false },
  );
}
