/**
 * Small blobs travel in their reference: a file of its own would cost a run of a small checkpoint more than all that is in it.
 *
 * Invariant: the digest of a reference is that of its text, wherever the text lies.
 */
import { hash } from 'node:crypto';
import { CheckpointLoadError } from '../errors.ts';
import type { BlobReference } from '../model/context.ts';

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
  let left = most;
  const open: unknown[] = [value];
  while (open.length > 0 && left >= 0) {
    const one = open.pop();
    left -= typeof one === 'string' ? one.length + 2 : 1;
    if (typeof one !== 'object' || one === null) continue;
    const entries: readonly unknown[] = Array.isArray(one) ? one : Object.entries(one).flat();
    left -= entries.length;
    if (left >= 0) open.push(...entries);
  }
  return left < 0;
}
