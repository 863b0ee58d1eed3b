/** Layers over a byte source: small header reads out of two windows, and a count of what was really asked for. */
import type { ByteSource } from '../model/byte-source.ts';

const HEAD = 64 * 1024;
const TAIL = 128 * 1024;
/** Read behind a request that goes through: what is asked for next mostly lies there. */
const AHEAD = 64 * 1024;
/** Reads of at least this size are of a directory or a pickle, wanted once: they are not kept, only the read-ahead behind them is. */
const LARGE = 1024 * 1024;

export interface Requests {
  readonly count: number;
  readonly bytes: number;
}

export interface CountedSource extends ByteSource {
  readonly requests: Requests;
}

interface Window {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Serves reads that lie within the first 64 KiB or the last 128 KiB from one read each; others go through with what lies behind them, and stay for the next. */
export function windowed(source: ByteSource): CountedSource {
  const requests = { count: 0, bytes: 0 };
  const fetch = async (offset: number, length: number, signal?: AbortSignal): Promise<Window> => {
    requests.count++;
    requests.bytes += length;
    return { offset, bytes: await source.read(offset, length, signal) };
  };
  let head: Window | undefined;
  let tail: Window | undefined;
  let last: Window | undefined;

  async function read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    const end = offset + length;
    // A window is kept once it is there: a failed read leaves nothing that a retry would meet again.
    const held = [last, head, tail].find((window) => window !== undefined && within(window, offset, end));
    if (held !== undefined) return slice(held, offset, length);
    if (end <= Math.min(HEAD, source.size)) return slice((head = await fetch(0, Math.min(HEAD, source.size), signal)), offset, length);
    const tailOffset = Math.max(0, source.size - TAIL);
    if (offset >= tailOffset && end <= source.size)
      return slice((tail = await fetch(tailOffset, source.size - tailOffset, signal)), offset, length);
    const window = await fetch(offset, Math.max(length, Math.min(length + AHEAD, source.size - offset)), signal);
    const isLarge = length >= LARGE;
    last = isLarge ? { offset: end, bytes: window.bytes.subarray(length) } : window;
    return isLarge ? window.bytes.subarray(0, length) : slice(window, offset, length);
  }

  return {
    uri: source.uri,
    size: source.size,
    identity: source.identity,
    requests,
    read,
    readInto: (offset, target, signal) => source.readInto(offset, target, signal),
    close: () => source.close(),
  };
}

function within(window: Window, offset: number, end: number): boolean {
  return offset >= window.offset && end <= window.offset + window.bytes.length;
}

function slice(window: Window, offset: number, length: number): Uint8Array {
  return window.bytes.slice(offset - window.offset, offset - window.offset + length);
}
