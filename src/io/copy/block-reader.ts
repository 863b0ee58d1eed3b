/**
 * A tensor that is cut into blocks, as the contiguous bytes of one storage.
 *
 * Invariant: any range can be asked for; what of a range lies in one block without a break is one read, shorter runs are served
 * from a page of each block. Memory is the pages: at most `PAGES` bytes together for up to 1 024 blocks.
 */
import type { Block } from '../../model/header.ts';
import type { StorageReader } from './storage-reader.ts';

/** Bytes of all pages, and the bounds of one. */
const PAGES = 64 * 1024 * 1024;
const PAGE_MAX = 1024 * 1024;
const PAGE_MIN = 64 * 1024;
/** Blocks that are held open: what of them is kept beside pages is small. */
const OPEN_MAX = 1024;

type Box = Pick<Block, 'start' | 'shape'>;

export interface BlockedBytes {
  readonly shape: readonly number[];
  /** Bytes of one element. */
  readonly size: number;
  readonly blocks: readonly Box[];
  /** The contiguous bytes of one block. */
  readonly open: (index: number) => Promise<StorageReader>;
}

export function blockReader({ shape, size, blocks, open }: BlockedBytes): StorageReader {
  // In bytes: the last axis of every box counts them, so that a range may begin anywhere.
  const whole = inBytes(shape, size);
  const boxes = blocks
    .map((box, index) => ({ index, start: inBytes(box.start, size, 0), shape: inBytes(box.shape, size) }))
    .filter((box) => !box.shape.includes(0))
    .sort((a, b) => compare(a.start, b.start));
  const length = volume(whole);
  const pageSize = Math.max(PAGE_MIN, Math.min(PAGE_MAX, Math.floor(PAGES / Math.max(1, boxes.length) / 64) * 64));
  const opened = new Map<number, { readonly reader: StorageReader; page?: { readonly at: number; readonly bytes: Uint8Array } }>();
  let last = 0;

  /** The position in `boxes` of the one that holds a byte: mostly the one before or the next. */
  function find(position: readonly number[]): number {
    for (const candidate of [last, last + 1, 0]) {
      const box = boxes[candidate];
      if (box !== undefined && holds(box, position)) return (last = candidate);
    }
    last = boxes.findIndex((box) => holds(box, position));
    return last;
  }

  async function readerOf(index: number) {
    const held = opened.get(index);
    if (held !== undefined) {
      opened.delete(index);
      opened.set(index, held);
      return held;
    }
    if (opened.size >= OPEN_MAX) {
      const [oldest, { reader }] = opened.entries().next().value!;
      opened.delete(oldest);
      reader.close();
    }
    const fresh: { reader: StorageReader; page?: { at: number; bytes: Uint8Array } } = { reader: await open(index) };
    opened.set(index, fresh);
    return fresh;
  }

  async function readRun(index: number, at: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    const held = await readerOf(index);
    if (target.length >= pageSize) return held.reader.readInto(at, target, signal);
    for (let done = 0; done < target.length;) {
      const from = at + done;
      let { page } = held;
      if (page === undefined || from < page.at || from >= page.at + page.bytes.length) {
        const start = Math.floor(from / pageSize) * pageSize;
        const bytes = new Uint8Array(Math.min(pageSize, held.reader.length - start));
        await held.reader.readInto(start, bytes, signal);
        page = held.page = { at: start, bytes };
      }
      const some = page.bytes.subarray(from - page.at, from - page.at + target.length - done);
      target.set(some, done);
      done += some.length;
    }
  }

  return {
    length,
    async readInto(offset, target, signal) {
      for (let done = 0; done < target.length;) {
        const position = coordinates(offset + done, whole);
        const box = boxes[find(position)];
        if (box === undefined) throw new RangeError(`no block holds byte ${offset + done} of ${length}`);
        const { at, run } = runFrom(box, whole, position);
        const part = target.subarray(done, Math.min(target.length, done + run));
        await readRun(box.index, at, part, signal);
        done += part.length;
      }
    },
    close() {
      for (const { reader } of opened.values()) reader.close();
      opened.clear();
    },
  };
}

/** Where in a box a position lies, and how many bytes from there on follow each other in the box and in the whole. */
function runFrom(box: Box, whole: readonly number[], position: readonly number[]): { readonly at: number; readonly run: number } {
  let at = 0;
  for (const [axis, size] of box.shape.entries()) at = at * size + (position[axis]! - box.start[axis]!);
  // The last axes that the box has in full follow each other; the first that it cuts, as far as it goes.
  let run = 1;
  let behind = 0;
  for (let axis = whole.length - 1; axis >= 0; axis--) {
    behind += (position[axis]! - box.start[axis]!) * run;
    run *= box.shape[axis]!;
    if (box.shape[axis] !== whole[axis]) break;
  }
  return { at, run: run - behind };
}

function holds(box: Box, position: readonly number[]): boolean {
  return position.every((at, axis) => at >= box.start[axis]! && at < box.start[axis]! + box.shape[axis]!);
}

/** A shape or a start with its last axis in bytes; a scalar gets one axis, which begins at `scalar`. */
function inBytes(sizes: readonly number[], size: number, scalar = size): readonly number[] {
  return sizes.length === 0 ? [scalar] : sizes.with(-1, sizes.at(-1)! * size);
}

function coordinates(offset: number, shape: readonly number[]): readonly number[] {
  const position = shape.map(() => 0);
  let rest = offset;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    position[axis] = rest % shape[axis]!;
    rest = Math.floor(rest / shape[axis]!);
  }
  return position;
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [axis, at] of a.entries()) if (at !== b[axis]) return at - b[axis]!;
  return 0;
}

function volume(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
