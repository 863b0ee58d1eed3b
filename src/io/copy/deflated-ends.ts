/**
 * Deflated storages are read to their end, where their length and CRC-32 are compared, though the last bytes are no tensor's: who reads
 * the last that one of them shows goes on from there.
 */
import type { Layout } from '../../formats/layout.ts';
import type { RestBudget } from './rest-budget.ts';
import type { StorageReader } from './storage-reader.ts';
import { spanOf } from './tensor-reader.ts';

/** Bytes of one read. */
const BLOCK = 256 * 1024;

/** Gives the reader of a deflated storage by its index. */
export function deflatedEnds({ tensors }: Layout, budget: RestBudget): (storage: number, reader: StorageReader) => StorageReader {
  /** Where the last byte ends that a tensor shows, by storage. */
  let ends: Map<number, number> | undefined;

  function endOf(index: number): number | undefined {
    if (ends === undefined) {
      ends = new Map();
      for (const { origin } of tensors) ends.set(origin.storage, Math.max(ends.get(origin.storage) ?? 0, spanOf(origin).end));
    }
    return ends.get(index);
  }

  return (index, reader) => {
    const end = endOf(index);
    if (end === undefined || end >= reader.length) return reader;
    let isTold = false;
    return {
      ...reader,
      async readInto(offset, target, signal) {
        await reader.readInto(offset, target, signal);
        if (offset + target.length !== end || isTold || !budget.take(reader.length - end)) return;
        const rest = new Uint8Array(Math.min(BLOCK, reader.length - end));
        for (let at = end; at < reader.length; at += rest.length)
          await reader.readInto(at, rest.subarray(0, Math.min(rest.length, reader.length - at)), signal);
        isTold = true;
      },
    };
  };
}
