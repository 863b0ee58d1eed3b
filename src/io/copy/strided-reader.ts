/**
 * A strided view (transposed, expanded, sliced) as contiguous bytes.
 *
 * The output is made window by window, each filled in the order of the *source*, so that a transposed matrix costs one pass over
 * its storage per window and not one read per element. Invariant: memory is at most one window and one tile; any range of the output can be asked for,
 * in order is cheapest.
 */
import type { StorageReader } from './storage-reader.ts';
import type { TensorFill } from './tensor-reader.ts';

const MEMORY = {
  /** Bytes of output made at a time: what of a transposed matrix one pass over its storage yields. */
  window: 64 * 1024 * 1024,
  /** Bytes of source read at a time. */
  tile: 4 * 1024 * 1024,
} as const;
type Memory = { readonly [name in keyof typeof MEMORY]: number };
/** Rows of a view that lie at most this far apart (bytes) are read together with what lies between them. */
const DENSE = 64 * 1024;

export interface StridedView {
  readonly shape: readonly number[];
  /** In elements, none negative. */
  readonly stride: readonly number[];
  /** First element in the storage. */
  readonly offset: number;
  /** Bytes of an element: 1, 2, 4, 8 or 16. */
  readonly size: number;
}

/** One axis of a window: `from` and `to` are the distances of neighbours in the source and in the window, in elements. */
interface Axis {
  readonly extent: number;
  readonly from: number;
  readonly to: number;
}

/** Fills `target` with output bytes from `offset`, both multiples of the element size. */
export function stridedFill(reader: StorageReader, view: StridedView, memory: Memory = MEMORY): TensorFill {
  const { shape, size } = view;
  // Windows cut the first axis below which everything fits into one.
  let axis = 0;
  while (axis < shape.length && bytesBelow(shape, axis, size) > memory.window) axis++;
  const row = bytesBelow(shape, axis, size);
  const rows = Math.max(1, Math.min(shape[axis] ?? 1, Math.floor(memory.window / row)));
  const plane = (shape[axis] ?? 1) * row;
  const buffer = new Uint8Array(rows * row);
  let held: { readonly start: number; readonly bytes: Uint8Array } | undefined;

  return async (offset, target, signal) => {
    let done = 0;
    while (done < target.length) {
      const at = offset + done;
      const outer = Math.floor(at / plane);
      const firstRow = Math.floor((at % plane) / (rows * row)) * rows;
      const start = outer * plane + firstRow * row;
      if (held?.start !== start) {
        held = undefined;
        const count = Math.min(rows, (shape[axis] ?? 1) - firstRow);
        const bytes = buffer.subarray(0, count * row);
        const first = firstElement(view, axis, outer, firstRow);
        await gather({ reader, size, first, axes: axesOf(view, axis, count), window: bytes, tileBytes: memory.tile, signal });
        held = { start, bytes };
      }
      const from = at - held.start;
      const take = Math.min(target.length - done, held.bytes.length - from);
      target.set(held.bytes.subarray(from, from + take), done);
      done += take;
    }
  };
}

function bytesBelow(shape: readonly number[], axis: number, size: number): number {
  return shape.slice(axis + 1).reduce((product, extent) => product * extent, size);
}

/** Source element of the first one of a window: `outer` counts the axes before the cut one, row-major. */
function firstElement({ shape, stride, offset }: StridedView, axis: number, outer: number, firstRow: number): number {
  let element = offset + firstRow * (stride[axis] ?? 0);
  let rest = outer;
  for (let each = axis - 1; each >= 0; each--) {
    element += (rest % shape[each]!) * stride[each]!;
    rest = Math.floor(rest / shape[each]!);
  }
  return element;
}

/** The axes of a window from outermost to innermost; neighbours that run on as one in source and window are one. */
function axesOf({ shape, stride }: StridedView, axis: number, rows: number): readonly Axis[] {
  const axes: Axis[] = [];
  let to = 1;
  for (let each = shape.length - 1; each >= axis; each--) {
    const extent = each === axis ? rows : shape[each]!;
    if (extent > 1) {
      const inner = axes[0];
      const from = stride[each]!;
      if (inner !== undefined && from === inner.from * inner.extent && to === inner.to * inner.extent && from > 0) {
        axes[0] = { extent: extent * inner.extent, from: inner.from, to: inner.to };
      } else axes.unshift({ extent, from, to });
    }
    to *= extent;
  }
  return axes;
}

interface Gathering {
  readonly reader: StorageReader;
  readonly size: number;
  /** Source element of the window's first. */
  readonly first: number;
  readonly axes: readonly Axis[];
  readonly window: Uint8Array;
  readonly tileBytes: number;
  readonly signal: AbortSignal | undefined;
}

async function gather({ reader, size, first, axes, window, tileBytes, signal }: Gathering): Promise<void> {
  // Repeated axes are filled once and copied afterwards.
  const moving = axes.filter(({ from }) => from > 0).sort((a, b) => b.from - a.from || b.to - a.to);
  let inner = moving.length;
  let span = 1;
  while (inner > 0) {
    const { extent, from } = moving[inner - 1]!;
    const wider = span + (extent - 1) * from;
    if (wider * size > tileBytes || !isDense(from, span, size)) break;
    span = wider;
    inner--;
  }
  // The next axis outward is cut into as many of its rows as fit.
  const cut = inner > 0 && isDense(moving[inner - 1]!.from, span, size) ? moving[inner - 1]! : undefined;
  const count = cut === undefined ? 1 : Math.min(cut.extent, Math.max(1, Math.floor((tileBytes / size - span) / cut.from) + 1));
  const outer = moving.slice(0, cut === undefined ? inner : inner - 1);
  const within = moving.slice(inner);
  const tile = new Uint8Array((span + (count - 1) * (cut?.from ?? 0)) * size);
  const copy = elementCopier(size, tile, window);

  const position = outer.map(() => 0);
  for (;;) {
    let from = first;
    let to = 0;
    for (const [index, at] of position.entries()) {
      from += at * outer[index]!.from;
      to += at * outer[index]!.to;
    }
    for (let row = 0; row < (cut?.extent ?? 1); row += count) {
      const taken = cut === undefined ? 1 : Math.min(count, cut.extent - row);
      const elements = span + (taken - 1) * (cut?.from ?? 0);
      await reader.readInto((from + row * (cut?.from ?? 0)) * size, tile.subarray(0, elements * size), signal);
      const axes = cut === undefined ? within : [{ ...cut, extent: taken }, ...within];
      copyTile(axes, to + row * (cut?.to ?? 0), copy);
    }
    if (!advance(position, outer)) break;
  }
  repeat(axes, size, window);
}

function isDense(from: number, span: number, size: number): boolean {
  return from * size <= DENSE || from <= 8 * span;
}

type CopyRun = (from: number, fromStep: number, to: number, toStep: number, count: number) => void;

/** Copies all elements of a tile; the innermost axis is one run. */
function copyTile(axes: readonly Axis[], to: number, copy: CopyRun): void {
  const last = axes.at(-1) ?? { extent: 1, from: 1, to: 1 };
  const outer = axes.slice(0, -1);
  const position = outer.map(() => 0);
  do {
    let source = 0;
    let place = to;
    for (let axis = 0; axis < outer.length; axis++) {
      source += position[axis]! * outer[axis]!.from;
      place += position[axis]! * outer[axis]!.to;
    }
    copy(source, last.from, place, last.to, last.extent);
  } while (advance(position, outer));
}

/** The next position, row-major; false after the last. */
function advance(position: number[], axes: readonly Axis[]): boolean {
  for (let axis = position.length - 1; axis >= 0; axis--) {
    if (++position[axis]! < axes[axis]!.extent) return true;
    position[axis] = 0;
  }
  return false;
}

function elementCopier(size: number, tile: Uint8Array, window: Uint8Array): CopyRun {
  const words = Math.max(1, size / 4);
  const source = size === 1 ? tile : size === 2 ? view16(tile) : view32(tile);
  const target = size === 1 ? window : size === 2 ? view16(window) : view32(window);
  return (from, fromStep, to, toStep, count) => {
    if (fromStep === 1 && toStep === 1) {
      target.set(source.subarray(from * words, (from + count) * words), to * words);
      return;
    }
    if (words === 1) {
      for (let i = 0, s = from, t = to; i < count; i++, s += fromStep, t += toStep) target[t] = source[s]!;
      return;
    }
    for (let i = 0, s = from * words, t = to * words; i < count; i++, s += fromStep * words, t += toStep * words) {
      for (let word = 0; word < words; word++) target[t + word] = source[s + word]!;
    }
  };
}

function view16(bytes: Uint8Array): Uint16Array {
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
}

function view32(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

/** Copies along the axes of stride 0, innermost first, so that every block is complete before it is repeated. */
function repeat(axes: readonly Axis[], size: number, window: Uint8Array): void {
  for (let index = axes.length - 1; index >= 0; index--) {
    const axis = axes[index]!;
    if (axis.from > 0) continue;
    // Axes of stride 0 further out hold their first row only, so far.
    const outer = axes.slice(0, index).map((each) => (each.from === 0 ? { ...each, extent: 1 } : each));
    const position = outer.map(() => 0);
    const block = axis.to * size;
    do {
      const start = outer.reduce((sum, each, at) => sum + position[at]! * each.to, 0) * size;
      for (let filled = 1; filled < axis.extent;) {
        const take = Math.min(filled, axis.extent - filled);
        window.copyWithin(start + filled * block, start, start + take * block);
        filled += take;
      }
    } while (advance(position, outer));
  }
}
