/**
 * Is this the file that was meant? By the store's own digest where there is one, else by one read of all of it.
 *
 * A read that was interrupted goes on where it stopped. For files of a disk in the same process only: Node's hashes are five times as
 * fast as those whose state can be written down, and reading a disk again costs little. What comes over a network is digested by the
 * latter, whose state is part of the progress that the next attempt is given, on whichever worker.
 */
import { createHash } from 'node:crypto';
import { CheckpointValidationError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import { portableHash, type RunningHash } from './portable-hash.ts';

/** Bytes of one read. */
const BLOCK = 4 * 1024 * 1024;
/** Interrupted digests that a process keeps. */
const KEPT_MOST = 16;

/** Algorithms by name, with the hexadecimal digits of their digests. */
const DIGITS = { md5: 32, sha1: 40, sha224: 56, sha256: 64, sha384: 96, sha512: 128 } as const;
export const CHECKSUM_ALGORITHMS = Object.keys(DIGITS) as readonly (keyof typeof DIGITS)[];

export interface Checksum {
  readonly algorithm: (typeof CHECKSUM_ALGORITHMS)[number];
  /** Lower-case hex. */
  readonly digest: string;
}

/** `sha256:9f86…`, of any case; without an algorithm it is SHA-256. Undefined for anything else. */
export function checksumOf(text: string): Checksum | undefined {
  const [, name = 'sha256', digest = ''] = /^(?:([a-z0-9-]+):)?([0-9a-f]+)$/.exec(text.trim().toLowerCase()) ?? [];
  const algorithm = CHECKSUM_ALGORITHMS.find((known) => known === name.replace('-', ''));
  return algorithm !== undefined && digest.length === DIGITS[algorithm] ? { algorithm, digest } : undefined;
}

/** How far an attempt came, for the next one. */
export interface ChecksumProgress {
  /** Bytes that are digested. */
  readonly offset: number;
  /** Which digest of which version of which file. */
  readonly of?: string;
  /** Of the hash, in base64; absent where it stays in the process. */
  readonly state?: string;
}

interface Running {
  readonly hash: RunningHash;
  readonly offset: number;
}

/** By version of a file, in the order they were interrupted. */
const interrupted = new Map<string, Running>();

export interface ChecksumOptions {
  readonly source: ByteSource;
  readonly expected: Checksum;
  /** What the store itself says is the SHA-256; null: nothing. */
  readonly known: string | null;
  readonly signal: AbortSignal;
  /** What an earlier attempt said last; anything else counts as nothing. */
  readonly resume?: Partial<Readonly<Record<keyof ChecksumProgress, unknown>>> | undefined;
  readonly onProgress: (progress: ChecksumProgress) => void;
}

/** Throws `CheckpointValidationError` with both digests where they differ. */
export async function verifyChecksum(options: ChecksumOptions): Promise<void> {
  const { source, expected, known } = options;
  const { algorithm, digest } = expected;
  const actual = (algorithm === 'sha256' ? known : null) ?? (await digestOf(options));
  if (actual === digest) return;
  throw new CheckpointValidationError(
    `${source.uri} is not the file that was expected: its ${algorithm} is ${actual}, expected ${digest}. Nothing of it was used.`,
    [],
    { details: { algorithm, expected: digest, actual, source_path: source.uri } },
  );
}

async function digestOf({ source, expected: { algorithm }, signal, resume, onProgress }: ChecksumOptions): Promise<string> {
  const key = `${algorithm} ${source.uri} ${source.size} ${source.identity}`;
  const isOnDisk = source.uri.startsWith('file:');
  let { hash, offset } = isOnDisk ? (interrupted.get(key) ?? fresh(algorithm)) : await goingOn(algorithm, key, source, resume);
  interrupted.delete(key);
  const blocks = [new Uint8Array(Math.min(BLOCK, source.size)), new Uint8Array(Math.min(BLOCK, source.size))] as const;
  const read = async (at: number, turn: number): Promise<Uint8Array> => {
    const bytes = blocks[turn % 2]!.subarray(0, Math.min(BLOCK, source.size - at));
    await source.readInto(at, bytes, signal);
    return bytes;
  };
  // The next block is on its way while this one is digested.
  let turn = 0;
  let pending = read(offset, turn);
  try {
    while (offset < source.size) {
      const bytes = await pending;
      signal.throwIfAborted();
      const next = offset + bytes.length;
      if (next < source.size) {
        pending = read(next, ++turn);
        // It surfaces when it is awaited; until then it must not count as unhandled.
        pending.catch(() => undefined);
      }
      hash.update(bytes);
      offset = next;
      const state = hash.save();
      onProgress(state === null ? { offset } : { offset, of: key, state });
    }
    return hash.digest();
  } catch (error) {
    // Nothing may read any more when the source is closed.
    await pending.catch(() => undefined);
    if (isOnDisk) keep(key, { hash, offset });
    throw error;
  }
}

function fresh(algorithm: Checksum['algorithm']): Running {
  const hash = createHash(algorithm);
  return { hash: { update: (bytes) => void hash.update(bytes), digest: () => hash.digest('hex'), save: () => null }, offset: 0 };
}

async function goingOn(
  algorithm: Checksum['algorithm'],
  key: string,
  { size }: ByteSource,
  resume: ChecksumOptions['resume'],
): Promise<Running> {
  const { of, offset, state } = resume ?? {};
  const isOurs = of === key && typeof state === 'string' && Number.isSafeInteger(offset) && Number(offset) >= 0 && Number(offset) <= size;
  const hash = isOurs ? await portableHash(algorithm, state) : null;
  return hash === null ? { hash: (await portableHash(algorithm))!, offset: 0 } : { hash, offset: Number(offset) };
}

function keep(key: string, running: Running): void {
  interrupted.set(key, running);
  const oldest = interrupted.keys().next();
  if (interrupted.size > KEPT_MOST && oldest.done === false) interrupted.delete(oldest.value);
}
