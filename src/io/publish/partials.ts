/**
 * What attempts to publish a local file keep until all is done: a folder beside the output, of one stage of one run. It holds the
 * partial file of each attempt and, once one was complete, the record of it.
 *
 * Invariant: nothing is found by looking through the output's own folder, which may hold tens of thousands of others.
 */
import { readdir, readFile, rm, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Copied } from '../copy/copy.ts';
import { identityOf, localIdentity } from '../local/local-file.ts';

const RECORD = 'published.json';
/** Says which folder was the first that had to be made for the output, for whoever takes it back. */
const MADE = 'made';
/** Characters of a SHA-256. */
const DIGEST = 64;

export interface Finished {
  /** Digest of all that the bytes follow from. */
  readonly content: string;
  readonly copied: Copied;
  /** Of the output as it was put in its place. */
  readonly identity: string;
}

export function partialsFolder(path: string, token: string): string {
  return join(dirname(path), `.${basename(path)}.${token}.partial`);
}

/** Says that a partial file is complete and about to become the output; without it a retry would have to write all of it again. Gives its identity. */
export async function recordFinished(folder: string, partial: string, { content, copied }: Omit<Finished, 'identity'>): Promise<string> {
  const { tensors, ...rest } = copied;
  // As the output will have it: renaming changes neither size, nor time, nor inode.
  const identity = localIdentity(await stat(join(folder, partial), { bigint: true }));
  // Mostly there is one of each.
  const indexes = tensors.includes(undefined) ? Object.keys(tensors).map(Number) : null;
  // Of very many tensors the digests are one text, as they are. One that is cut counts as none.
  const digests = Buffer.from(tensors.join(''), 'latin1');
  const head = JSON.stringify({ content, identity, ...rest, indexes, length: digests.length });
  await writeFile(join(folder, RECORD), Buffer.concat([Buffer.from(`${head}\n`), digests]));
  return identity;
}

/** What an attempt has made the output, if that is what is there; else null. */
export async function finishedAs(path: string, token: string): Promise<Finished | null> {
  const text = await readFile(join(partialsFolder(path, token), RECORD), 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    const end = text.indexOf('\n');
    const digests = text.slice(end + 1);
    // Written by `recordFinished`, or cut where the machine went down.
    const { content, identity, indexes, length, ...copied } = JSON.parse(text.slice(0, end)) as Omit<Copied, 'tensors'> & {
      content: string;
      identity: string;
      indexes: readonly number[] | null;
      length: number;
    };
    if (digests.length !== length || identity !== (await identityOf(path))) return null;
    const tensors: string[] = [];
    for (let at = 0; at < length / DIGEST; at++)
      tensors[indexes === null ? at : indexes[at]!] = digests.slice(DIGEST * at, DIGEST * (at + 1));
    return { content, copied: { ...copied, tensors }, identity };
  } catch {
    return null;
  }
}

/** Names of the partial files in the folder; none where it is not there. */
export async function partialsIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name !== RECORD && name !== MADE);
}

/** Removes the partial files of all attempts, or of all others than one that goes on. Nothing there is fine. */
export async function discardPartials(path: string, token: string, kept?: string): Promise<void> {
  const folder = partialsFolder(path, token);
  const names = await partialsIn(folder);
  await Promise.all(names.filter((name) => name !== kept).map((name) => remove(join(folder, name))));
  if (kept === undefined) await leaveFolder(folder);
}

/** Removes the partial file of one attempt that failed for good, and its record where it never became the output. */
export async function leavePartials(path: string, token: string, name: string): Promise<void> {
  const folder = partialsFolder(path, token);
  await remove(join(folder, name));
  if ((await finishedAs(path, token)) === null) await remove(join(folder, RECORD));
  await leaveFolder(folder);
}

/** Notes that folders were made for the output, from `first` on. */
export async function noteMade(folder: string, first: string): Promise<void> {
  if (first !== folder) await writeFile(join(folder, MADE), `${first}\n`);
}

/** Removes the folder where nothing is left in it, with those that were made for the output as far as they are empty. */
async function leaveFolder(folder: string): Promise<void> {
  if ((await readdir(folder).catch(() => [])).some((name) => name !== MADE)) return;
  const first = await takeMade(folder);
  if (await isRemoved(folder)) await removeMade(folder, first);
}

/** Removes the folder: the output stands for itself, or is gone. Then those that were made for it go as well, as far as they are empty. */
export async function forgetPartials(path: string, token: string): Promise<void> {
  const folder = partialsFolder(path, token);
  await unlink(join(folder, RECORD)).catch(() => undefined);
  const first = await takeMade(folder);
  await rmdir(folder).catch((error: NodeJS.ErrnoException) => (error.code === 'ENOENT' ? undefined : remove(folder)));
  await removeMade(folder, first);
}

/** The first folder that was made for the output, whose note goes; the folder itself where that is all. */
async function takeMade(folder: string): Promise<string> {
  const made = await readFile(join(folder, MADE), 'utf8').catch(() => '');
  await unlink(join(folder, MADE)).catch(() => undefined);
  // One that was cut, where the machine went down, would name a folder above those that were made.
  return made.endsWith('\n') ? made.slice(0, -1) : folder;
}

/** Removes the empty folders above one that is gone, up to the first that was made. */
async function removeMade(folder: string, first: string): Promise<void> {
  for (let each = dirname(folder); each.startsWith(first); each = dirname(each)) if (!(await isRemoved(each))) return;
}

function isRemoved(folder: string): Promise<boolean> {
  return rmdir(folder).then(
    () => true,
    () => false,
  );
}

async function remove(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(() => undefined);
}
