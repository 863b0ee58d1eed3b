/**
 * Walks a layout into a sink: one pass, a few blocks of memory, digests in flight.
 *
 * The next block is read while the current one is hashed and written. Blocks hold whole elements only where a tensor is
 * transformed; every range of the output can be made on its own, so a transfer may begin anywhere.
 */
import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { CheckpointLoadError } from '../errors.ts';
import type { Layout, Segment } from '../formats/layout.ts';
import type { ByteSource, PinnedFile } from '../model/byte-source.ts';
import type { Plan } from '../model/plan.ts';
import { openStorage, type StorageReader } from './storage-reader.ts';
import { isWholeStorage, tensorFill, type TensorFill } from './tensor-reader.ts';

/** Bytes of a block: a multiple of every element size. */
const BLOCK = 4 * 1024 * 1024;

export interface CopyOptions {
  readonly layout: Layout;
  readonly plan: Plan;
  readonly open: (file: PinnedFile) => Promise<ByteSource>;
  /** Called with consecutive bytes; the memory is reused when its promise resolves. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  readonly signal: AbortSignal;
  /** Called after each block is written, with the bytes done and the digest of all of them so far. */
  readonly onBlock: (done: number, digest: () => string) => Promise<void>;
}

export interface Copied {
  readonly size: number;
  readonly sha256: string;
  /** SHA-256 of each tensor by name. */
  readonly tensors: ReadonlyMap<string, string>;
}

interface Piece {
  readonly segment: number;
  /** Where in its segment it begins. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export async function copyLayout(options: CopyOptions): Promise<Copied> {
  const { layout, plan, signal } = options;
  const sources = await openSources(plan, options.open);
  const whole = createHash('sha256');
  const tensors = new Map<string, string>();
  const digest = tensorDigests(plan, layout, tensors);
  try {
    const fill = filler(plan, layout, sources);
    const blocks = blocksOf(layout);
    const memory = [new Uint8Array(BLOCK), new Uint8Array(BLOCK)] as const;
    let done = 0;
    let turn = 0;
    let pending = nextBlock(blocks, memory[turn % 2]!, fill, signal);
    for (;;) {
      const block = await pending;
      if (block === null) break;
      turn++;
      pending = nextBlock(blocks, memory[turn % 2]!, fill, signal);
      // A failed read surfaces when it is awaited; until then it must not count as unhandled.
      pending.catch(() => undefined);
      signal.throwIfAborted();
      const written = options.write(block.bytes);
      whole.update(block.bytes);
      for (const piece of block.pieces) digest(piece);
      await written;
      done += block.bytes.length;
      await options.onBlock(done, () => whole.copy().digest('hex'));
    }
    return { size: done, sha256: whole.digest('hex'), tensors };
  } finally {
    await Promise.all(sources.map((source) => source.close()));
  }
}

async function openSources(plan: Plan, open: CopyOptions['open']): Promise<readonly ByteSource[]> {
  const opened: ByteSource[] = [];
  try {
    for (const file of plan.files) opened.push(await open(file));
    return opened;
  } catch (error) {
    await Promise.all(opened.map((source) => source.close().catch(() => undefined)));
    throw error;
  }
}

type Part = { readonly segment: number; readonly offset: number; readonly length: number };

/** The layout cut into blocks of at most `BLOCK` bytes; each a list of parts of segments. */
function* blocksOf(layout: Layout): Generator<readonly Part[]> {
  let parts: Part[] = [];
  let room = BLOCK;
  for (const [segment, { kind, ...rest }] of layout.segments.entries()) {
    const length = kind === 'bytes' ? (rest as { bytes: Uint8Array }).bytes.length : (rest as { length: number }).length;
    let offset = 0;
    do {
      // Cut at multiples of 16, so that no element is ever cut in two.
      const take = length - offset <= room ? length - offset : Math.floor(room / 16) * 16;
      if (take > 0 || length === 0) parts.push({ segment, offset, length: take });
      offset += take;
      room -= take;
      if (offset < length || room === 0) {
        yield parts;
        parts = [];
        room = BLOCK;
      }
    } while (offset < length);
  }
  if (parts.length > 0) yield parts;
}

async function nextBlock(
  blocks: Iterator<readonly Part[]>,
  memory: Uint8Array,
  fill: SegmentFill,
  signal: AbortSignal,
): Promise<{ bytes: Uint8Array; pieces: readonly Piece[] } | null> {
  const { value: parts, done } = blocks.next();
  if (done === true) return null;
  const pieces: Piece[] = [];
  let at = 0;
  for (const { segment, offset, length } of parts) {
    const bytes = memory.subarray(at, at + length);
    if (length > 0) await fill(segment, offset, bytes, signal);
    pieces.push({ segment, offset, bytes });
    at += length;
  }
  return { bytes: memory.subarray(0, at), pieces };
}

type SegmentFill = (segment: number, offset: number, target: Uint8Array, signal: AbortSignal) => Promise<void>;

/** Keeps the reader of the segment under way; segments come in order, so no other is needed. */
function filler(plan: Plan, layout: Layout, sources: readonly ByteSource[]): SegmentFill {
  let held: { readonly segment: number; readonly fill: TensorFill } | undefined;
  let storage: { readonly index: number; readonly reader: StorageReader } | undefined;
  return async (index, offset, target, signal) => {
    const segment = layout.segments[index]!;
    if (segment.kind === 'bytes') return target.set(segment.bytes.subarray(offset, offset + target.length));
    if (held?.segment !== index) {
      const { origin } = plan.tensors[segment.index]!;
      const place = plan.storages[origin.storage]!;
      if (storage?.index !== origin.storage) storage = { index: origin.storage, reader: await openStorage(sources[place.file]!, place) };
      held = { segment: index, fill: tensorFill(storage.reader, place, origin) };
    }
    await held.fill(offset, target, signal);
  };
}

/** Takes pieces in order; a tensor's digest is final with its last piece, when its archive's CRC-32 is compared, too. */
function tensorDigests(plan: Plan, layout: Layout, found: Map<string, string>): (piece: Piece) => void {
  let hash: Hash | undefined;
  let sum = 0;
  return ({ segment: index, offset, bytes }) => {
    const segment: Segment = layout.segments[index]!;
    if (segment.kind === 'bytes') return;
    const { name, origin } = plan.tensors[segment.index]!;
    const storage = plan.storages[origin.storage]!;
    const { location } = storage;
    const expected =
      location.kind === 'member' && location.method === 'stored' && isWholeStorage(storage, origin, segment.length) ? location.crc32 : 0;
    if (offset === 0) {
      hash = createHash('sha256');
      sum = 0;
    }
    hash!.update(bytes);
    if (expected !== 0) sum = crc32(bytes, sum);
    if (offset + bytes.length < segment.length) return;
    found.set(name, hash!.digest('hex'));
    if (expected !== 0 && sum !== expected) {
      const uri = plan.files[storage.file]!.uri;
      throw new CheckpointLoadError(
        `${uri}: the bytes of ${name} are damaged: CRC-32 is ${sum.toString(16)}, the archive says ${expected.toString(16)}. Copy the file again from where it came.`,
        uri,
        { details: { tensor: name } },
      );
    }
  };
}
