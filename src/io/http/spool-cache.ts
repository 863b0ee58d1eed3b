/**
 * Whole copies of files from servers without ranges: named by their SHA-256, so that a copy is never of two versions and is
 * found again by what a run has pinned.
 *
 * Bounded: the copies used longest ago go first, and what an interrupted transfer left goes after a day. A copy that is open stays readable
 * when it is removed.
 */
import { open, readdir, rename, rm, stat, utimes, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../folders.ts';
import { StoreFault } from '../store-fault.ts';

/** Bytes of all copies together, unless the settings say otherwise. */
const CACHE_BYTES = 64 * 2 ** 30;
/** Milliseconds after which a partial copy is nobody's. */
const PARTIAL_STALE = 24 * 3600 * 1000;
/** Milliseconds without a write after which another transfer may take a partial copy over. */
const PARTIAL_IDLE = 60_000;

export interface Spooled {
  readonly sha256: string;
  readonly size: number;
  readonly handle: FileHandle;
}

export interface SpoolCache {
  readonly limit: number;
  /** The copy with that digest, if it is there. */
  open(sha256: string): Promise<Spooled | null>;
  /** A new partial file, or one that an interrupted transfer of the same version (`key`) has left. */
  begin(key: string): Promise<{ readonly path: string; readonly taken: boolean }>;
  /** Makes room for a partial file to grow to `size` bytes; a `StoreFault` where that is more than the cache may hold, or there is none now. */
  makeRoom(partial: string, size: number): Promise<void>;
  /** Room is wanted no more for a partial file. */
  leave(partial: string): void;
  /** Turns a partial file into the copy with that digest. */
  keep(partial: string, sha256: string): Promise<Spooled>;
}

export function createSpoolCache(folder: string, limit: number = CACHE_BYTES, now: () => number = Date.now): SpoolCache {
  const pathOf = (sha256: string): string => join(folder, sha256);
  const isPartial = ({ name }: { readonly name: string }): boolean => name.endsWith('.partial');
  /** Sizes that partial files of this process will have. */
  const promised = new Map<string, number>();

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
        if (!file.name.startsWith(`${key}.`) || !isPartial(file) || now() - file.used < PARTIAL_IDLE) continue;
        // Who renames it has it: two cannot.
        const taken = await rename(file.path, path).then(
          () => true,
          () => false,
        );
        if (taken) return { path, taken };
      }
      return { path, taken: false };
    },
    async makeRoom(partial, size) {
      if (size > limit)
        throw new StoreFault(
          `the server has no ranges, and its ${size} bytes or more are above the ${limit} bytes that the cache holds; raise \`http.cache_bytes\` in the worker's storage settings`,
          { code: 'TooLarge', retryable: false },
        );
      promised.set(partial, size);
      const all = (await files()).sort((a, b) => a.used - b.used);
      const sizes = new Map(promised);
      for (const file of all) {
        if (isPartial(file) && !promised.has(file.path) && now() - file.used > PARTIAL_STALE) await rm(file.path, { force: true });
        else sizes.set(file.path, Math.max(file.size, promised.get(file.path) ?? 0));
      }
      let held = [...sizes.values()].reduce((sum, each) => sum + each, 0);
      for (const file of all) {
        if (held <= limit) return;
        if (isPartial(file)) continue;
        await rm(file.path, { force: true });
        held -= file.size;
      }
      if (held <= limit) return;
      promised.delete(partial);
      throw new StoreFault(`other transfers fill the cache of ${limit} bytes`, { code: 'CacheFull', retryable: true });
    },
    leave: (partial) => void promised.delete(partial),
    async keep(partial, sha256) {
      await rename(partial, pathOf(sha256));
      promised.delete(partial);
      const kept = await openCopy(sha256);
      if (kept === null) throw new StoreFault('its copy went from the cache at once', { code: 'CacheLost', retryable: true });
      return kept;
    },
  };
}
