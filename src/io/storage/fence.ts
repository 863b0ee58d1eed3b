/**
 * What a worker may reach, whatever a pipeline's input names.
 *
 * Invariant: a place outside the fence is refused before anything there is looked at, in the same words whether it exists or
 * not; symbolic links and `..` are followed first, as the system does. The fence holds against who writes inputs, not against who
 * may already change files inside an allowed folder while they are being read.
 */
import { readlink, realpath } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { CheckpointConfigError } from '../../errors.ts';
import { globFits, type Fence } from './settings.ts';

/** Judges local files; `NO_FENCE` lets everything through. */
export interface LocalFence {
  /** Before a path is opened or written. */
  checkPath(path: string): Promise<void>;
  /** What was opened is what was judged. */
  checkOpened(handle: FileHandle, path: string): Promise<void>;
}

export const NO_FENCE: LocalFence = { checkPath: async () => undefined, checkOpened: async () => undefined };

/** Symbolic links followed on the way to one path, as Linux limits them. */
const LINKS_MOST = 40;

export function localFence(roots: readonly string[] | undefined): LocalFence {
  if (roots === undefined) return NO_FENCE;
  // Roots may be links themselves, and may be mounted after the worker has started.
  const realRoots = (): Promise<readonly string[]> => Promise.all(roots.map((root) => realOf(resolve(root))));
  const check = async (real: string, path: string): Promise<void> => {
    if ((await realRoots()).some((root) => isWithin(root, real))) return;
    throw new CheckpointConfigError(
      `${path} lies outside the folders that this worker may use: ${roots.join(', ') || 'none'}. Put the file there, or widen CKPT_ALLOWED_ROOTS on the worker.`,
      undefined,
      { details: { path, reason: 'outside_fence' } },
    );
  };
  return {
    checkPath: async (path) => check(await realOf(path), path),
    async checkOpened(handle, path) {
      const opened = await readlink(`/proc/self/fd/${handle.fd}`).catch(() => null);
      await check(opened ?? (await realOf(path)), path);
    },
  };
}

/** Where a path leads with all links followed, whether its end exists or not. */
async function realOf(path: string, links = 0): Promise<string> {
  const real = await realpath(path).catch(() => null);
  if (real !== null) return real;
  const parent = dirname(path);
  if (parent === path) return path;
  const target = links < LINKS_MOST ? await readlink(path).catch(() => null) : null;
  // A link whose end does not exist yet leads where it says.
  if (target !== null) return realOf(isAbsolute(target) ? target : join(await realOf(parent, links + 1), target), links + 1);
  return join(await realOf(parent, links), basename(path));
}

function isWithin(root: string, path: string): boolean {
  const way = relative(root, path);
  return way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way));
}

/** Refuses an object outside the allowed buckets and prefixes. */
export function checkBucket({ buckets }: Fence, bucket: string, key: string): void {
  if (buckets === undefined || buckets.some((entry) => allows(entry, bucket, key))) return;
  throw new CheckpointConfigError(
    `s3://${bucket}/${key} lies outside the buckets that this worker may use: ${buckets.join(', ') || 'none'}. Choose another, or widen CKPT_ALLOWED_BUCKETS on the worker.`,
    undefined,
    { details: { bucket, reason: 'outside_fence' } },
  );
}

/** A prefix ends where a part of the key ends: `models/team` allows `team/x` and not `team-b/x`. */
function allows(entry: string, bucket: string, key: string): boolean {
  const slash = entry.indexOf('/');
  if (!globFits(slash < 0 ? entry : entry.slice(0, slash), bucket)) return false;
  const prefix = slash < 0 ? '' : entry.slice(slash + 1);
  return prefix === '' || key.startsWith(prefix.endsWith('/') ? prefix : `${prefix}/`);
}
