/**
 * Pickles that are not an archive's: files of torch before 1.6, other bare pickles, the index of a distributed checkpoint.
 *
 * Invariant: a legacy file's five leading pickles are read by the rules of any other; a bare pickle ends where its file ends.
 */
import type { ByteSource } from '../../model/byte-source.ts';
import { pickleExtent } from '../torch/pickle-extent.ts';
import { scanPickle, type Scanned } from './pickles.ts';
import type { Tally } from './tally.ts';

const LEGACY = ['magic number', 'protocol version', 'system information', 'object', 'storage keys'] as const;
const MAGIC_NUMBER = '119547037146038801333356';
/** Pickles read of one file. */
const PICKLES_MAX = 1_000;
const FIRST_READ = 64 * 1024;
const GROWTH = 4;

export interface Bare {
  readonly first: Scanned;
  readonly isLegacy: boolean;
  /** Every pickle was read to its end. */
  readonly sound: boolean;
}

/** Scans a file of pickles, of each at most `limit` bytes. */
export async function scanBare(source: ByteSource, tally: Tally, limit: number): Promise<Bare> {
  const front = growing(source, limit);
  const first = scanPickle(await front(0), LEGACY[0], tally);
  const magic = first.root === undefined ? undefined : first.nodes[first.root];
  const isLegacy = typeof magic === 'object' && magic?.kind === 'int' && magic.decimal === MAGIC_NUMBER;
  let at = first.end;
  let read = 1;
  for (; at < source.size && read < (isLegacy ? LEGACY.length : PICKLES_MAX) && first.root !== undefined; read++) {
    const next = scanPickle(await front(at), isLegacy ? (LEGACY[read] ?? '') : `pickle ${read + 1}`, tally, at);
    if (next.root === undefined) return { first, isLegacy, sound: false };
    at = next.end;
  }
  if (isLegacy && read < LEGACY.length) tally.broken('truncated', `it holds ${read} of the ${LEGACY.length} pickles of torch's old format`);
  if (!isLegacy && first.root !== undefined && read > 1)
    tally.broken('bytes_after_stop', `${read} pickles follow one another, expected one`);
  return { first, isLegacy, sound: first.root !== undefined };
}

/** The start of the file, fetched as far as the pickle at an offset reaches. */
function growing(source: ByteSource, limit: number): (start: number) => Promise<Uint8Array> {
  let bytes: Uint8Array = new Uint8Array(0);
  return async (start) => {
    for (let at = start; ;) {
      const extent = pickleExtent(bytes, at);
      const most = Math.min(source.size, start + limit + 1);
      // Some bytes more than the pickle, so that one which breaks early is swept behind the break.
      if (extent.ended) return bytes.subarray(0, Math.max(extent.at, Math.min(bytes.length, start + FIRST_READ)));
      if (bytes.length >= most || (extent.needed > source.size && bytes.length >= Math.min(most, start + FIRST_READ))) return bytes;
      at = extent.at;
      const wanted = Math.min(most, Math.max(Math.min(extent.needed, most), bytes.length * GROWTH, FIRST_READ));
      const joined = new Uint8Array(wanted);
      joined.set(bytes);
      joined.set(await source.read(bytes.length, wanted - bytes.length), bytes.length);
      bytes = joined;
    }
  };
}
