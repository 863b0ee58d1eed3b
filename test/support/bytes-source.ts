/** Bytes in memory as a byte source that says what was read of it. */
import type { ByteSource } from '../../src/model/byte-source.ts';

export interface MemorySource extends ByteSource {
  readonly reads: { readonly offset: number; readonly length: number }[];
}

/** Bytes for `[offset, offset + length)` of a file, so that a test needs no large one. */
export type Produce = (offset: number, length: number) => Uint8Array;

export function memorySource(
  content: Uint8Array | { readonly size: number; readonly at: Produce },
  uri = 'memory:///checkpoint',
): MemorySource {
  const size = content instanceof Uint8Array ? content.length : content.size;
  const at: Produce = content instanceof Uint8Array ? (offset, length) => content.slice(offset, offset + length) : content.at;
  const reads: { offset: number; length: number }[] = [];
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    if (offset < 0 || offset + length > size) throw new RangeError(`${offset}+${length} of ${size}`);
    reads.push({ offset, length });
    return at(offset, length);
  };
  return {
    uri,
    size,
    identity: 'test',
    reads,
    read,
    readInto: async (offset, target) => target.set(await read(offset, target.length)),
    close: async () => {},
  };
}
