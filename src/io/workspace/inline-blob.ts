/**
 * Small blobs travel in their reference: a file of its own would cost a run of a small checkpoint more than all that is in it.
 *
 * Invariant: the digest of a reference is that of its text, wherever the text lies.
 */
import { hash } from 'node:crypto';
import { CheckpointLoadError } from '../../errors.ts';
import type { BlobReference } from '../../model/context.ts';

/** Bytes of JSON: a context of 16 KiB bears three such, a third larger as base64. */
const MOST = 1024;
const PREFIX = 'data:application/json;base64,';

/** Null where the value is too large for that. */
export function inlineBlob(value: unknown): BlobReference | null {
  if (isLonger(value, MOST)) return null;
  const bytes = Buffer.from(JSON.stringify(value));
  if (bytes.length > MOST) return null;
  return { uri: `${PREFIX}${bytes.toString('base64')}`, sha256: hash('sha256', bytes), size: bytes.length };
}

/** Undefined where it lies elsewhere. */
export function inlineValue({ uri, sha256 }: BlobReference): unknown {
  if (!uri.startsWith(PREFIX)) return undefined;
  const bytes = Buffer.from(uri.slice(PREFIX.length), 'base64');
  const found = hash('sha256', bytes);
  if (found === sha256) return JSON.parse(bytes.toString('utf8'));
  throw new CheckpointLoadError(`A blob in the run's context was damaged: its SHA-256 is ${found}, expected ${sha256}.`, null);
}

/** Whether its JSON is certainly longer, found out without writing it: a plan may have 20 MB. */
function isLonger(value: unknown, most: number): boolean {
  return rest(value, most) < 0;
}

/** What the JSON of the value leaves of so many characters, at most; below zero as soon as that is certain. */
function rest(value: unknown, most: number): number {
  if (typeof value === 'string') return most - value.length - 2;
  let left = most - 1;
  if (typeof value !== 'object' || value === null) return left;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length && left >= 0; index++) left = rest(value[index], left);
    return left;
  }
  for (const key in value) {
    left = rest((value as Readonly<Record<string, unknown>>)[key], left - key.length - 3);
    if (left < 0) break;
  }
  return left;
}
