/**
 * Is this the file that was meant? By the store's own digest where there is one, else by one read of all of it.
 *
 * A read that was interrupted goes on where it stopped if the next attempt runs in the same process: Node's hashes can be kept,
 * not written down, so an attempt on another worker begins anew.
 */
import { createHash, type Hash } from 'node:crypto';
import { CheckpointValidationError } from '../errors.ts';
import type { ByteSource } from '../model/byte-source.ts';

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

interface Running {
  readonly hash: Hash;
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
  readonly onProgress: (offset: number) => void;
}

/** Throws `CheckpointValidationError` with both digests where they differ. */
export async function verifyChecksum({ source, expected, known, signal, onProgress }: ChecksumOptions): Promise<void> {
  const { algorithm, digest } = expected;
  const actual = (algorithm === 'sha256' ? known : null) ?? (await digestOf(source, algorithm, signal, onProgress));
  if (actual === digest) return;
  throw new CheckpointValidationError(
    `${source.uri} is not the file that was expected: its ${algorithm} is ${actual}, expected ${digest}. Nothing of it was used.`,
    [],
    { details: { algorithm, expected: digest, actual, source_path: source.uri } },
  );
}

async function digestOf(
  source: ByteSource,
  algorithm: Checksum['algorithm'],
  signal: AbortSignal,
  onProgress: (offset: number) => void,
): Promise<string> {
  const key = `${algorithm}\n${source.uri}\n${source.size}\n${source.identity}`;
  let { hash, offset } = interrupted.get(key) ?? { hash: createHash(algorithm), offset: 0 };
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
      onProgress(offset);
    }
    return hash.digest('hex');
  } catch (error) {
    // Nothing may read any more when the source is closed.
    await pending.catch(() => undefined);
    keep(key, { hash, offset });
    throw error;
  }
}

function keep(key: string, running: Running): void {
  interrupted.set(key, running);
  const oldest = interrupted.keys().next();
  if (interrupted.size > KEPT_MOST && oldest.done === false) interrupted.delete(oldest.value);
}
