/** A byte source over memory that counts what it is asked for. */
import { lengthOf, scatter } from '../../src/io/wire/scatter.ts';
import type { ByteSource } from '../../src/model/byte-source.ts';

export interface MemorySource extends ByteSource {
  readonly asked: { requests: number; bytes: number };
  /** Each request. */
  readonly reads: { readonly offset: number; readonly length: number }[];
}

/** Bytes that are made when asked for, so that a test needs no large file. */
export interface Made {
  readonly size: number;
  readonly at: (offset: number, length: number) => Uint8Array;
}

export function memorySource(content: Uint8Array | Made, uri = 'memory:///file'): MemorySource {
  const size = content instanceof Uint8Array ? content.length : content.size;
  const asked = { requests: 0, bytes: 0 };
  const reads: { offset: number; length: number }[] = [];
  const take = (offset: number, length: number): Uint8Array => {
    if (offset < 0 || length < 0 || offset + length > size) throw new Error(`read of ${length} at ${offset} of ${size}`);
    asked.requests++;
    asked.bytes += length;
    reads.push({ offset, length });
    return content instanceof Uint8Array ? content.subarray(offset, offset + length) : content.at(offset, length);
  };
  return {
    uri,
    size,
    identity: 'memory',
    asked,
    reads,
    read: async (offset, length) => take(offset, length).slice(),
    readInto: async (offset, target) => target.set(take(offset, target.length)),
    readEach: async (offset, targets) => scatter(targets).take(take(offset, lengthOf(targets))),
    close: async () => undefined,
  };
}

/** Bytes that repeat nowhere near. */
export function noise(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0 || 1;
  for (let at = 0; at < length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state;
  }
  return bytes;
}
