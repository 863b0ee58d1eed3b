/** JSON by content: a reference names its bytes, so that a blob is written once, never changed, and verified whenever it is read. */
import { hash } from 'node:crypto';
import { CheckpointLoadError } from '../../errors.ts';
import type { BlobReference } from '../../model/context.ts';
import { breath, LONG_WORK } from '../breath.ts';
import { parseColumnarJson } from './columnar-json/read.ts';
import { columnarJson } from './columnar-json/write.ts';

/** Where blobs lie. */
export interface BlobStore {
  uriOf(sha256: string): string;
  /** The text as it lies there; throws if it cannot be read. */
  read(uri: string): Promise<string>;
  /** Stores UTF-8 text under its digest. An intact blob stays, and counts as used now (for `ckpt gc`); a damaged one is rewritten. */
  write(sha256: string, text: Uint8Array): Promise<void>;
}

export interface JsonBlobs {
  putJson(value: unknown): Promise<BlobReference>;
  /** `CheckpointLoadError` where a blob is not what its digest says. */
  getJson(reference: BlobReference): Promise<unknown>;
}

export function jsonBlobs({ uriOf, read, write }: BlobStore): JsonBlobs {
  async function verified(uri: string, expected: string): Promise<string> {
    const text = await read(uri);
    const sha256 = hash('sha256', text);
    if (sha256 === expected) return text;
    throw new CheckpointLoadError(`${uri} was damaged: its SHA-256 is ${sha256}, expected ${expected}.`, uri);
  }
  return {
    async putJson(value) {
      const { text, parts } = columnarJson(value);
      const size = parts.reduce((sum, part) => sum + part.text.length, text.length);
      if (size >= LONG_WORK) await breath();
      const sha256 = hash('sha256', text);
      // All before any of them is referred to.
      await Promise.all([...parts, { sha256, text }].map((each) => write(each.sha256, each.text)));
      return { uri: uriOf(sha256), sha256, size };
    },
    async getJson({ uri, sha256, size }) {
      const value = await parseColumnarJson(await verified(uri, sha256), (part) => verified(uriOf(part), part));
      if (size >= LONG_WORK) await breath();
      return value;
    },
  };
}
