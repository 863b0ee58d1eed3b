/** Hashes whose state can be written down, for another process to go on from. */
import type { IHasher } from 'hash-wasm';

export interface RunningHash {
  update(bytes: Uint8Array): void;
  /** In hex; ends the hash. */
  digest(): string;
  /** In base64; null where it cannot be written down. */
  save(): string | null;
}

type Algorithm = 'md5' | 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512';

/** A new one, or one that goes on from a state; null where that is none of this algorithm and version. */
export async function portableHash(algorithm: Algorithm, state?: string): Promise<RunningHash | null> {
  const hasher = await make(algorithm);
  try {
    if (state === undefined) hasher.init();
    else hasher.load(Buffer.from(state, 'base64'));
  } catch {
    return null;
  }
  return {
    update: (bytes) => void hasher.update(bytes),
    digest: () => hasher.digest('hex'),
    save: () => Buffer.from(hasher.save()).toString('base64'),
  };
}

/** The library is loaded where it is needed: it carries its WebAssembly with it. */
async function make(algorithm: Algorithm): Promise<IHasher> {
  const { createMD5, createSHA1, createSHA224, createSHA256, createSHA384, createSHA512 } = await import('hash-wasm');
  return { md5: createMD5, sha1: createSHA1, sha224: createSHA224, sha256: createSHA256, sha384: createSHA384, sha512: createSHA512 }[
    algorithm
  ]();
}
