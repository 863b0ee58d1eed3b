/** GETs over lines that are kept for the next ones: so many at a time, to each server as many as are needed. */
import { slots } from '../slots.ts';
import { exchange, NothingCame, type WireAnswer, type WireRequest } from './exchange.ts';
import { openLine, type Address, type Line, type LineOptions } from './line.ts';

export interface Wire {
  /** The signal ends the exchange until its body is there; rejects with its reason, a `StoreFault`, or what the system says. */
  get(address: Address, request: WireRequest, signal: AbortSignal): Promise<WireAnswer>;
  close(): void;
}

export interface WireOptions extends LineOptions {
  /** Lines in use at a time. */
  readonly most: number;
}

export function openWire(options: WireOptions): Wire {
  const places = slots(options.most);
  const idle = new Map<string, Line[]>();
  const used = new Set<Line>();
  let closed = false;

  function lineTo(address: Address, key: string): { readonly line: Line; readonly fresh: boolean } {
    const waiting = idle.get(key) ?? [];
    for (let line = waiting.pop(); line !== undefined; line = waiting.pop()) {
      if (!line.alive) continue;
      line.keep(true);
      return { line, fresh: false };
    }
    const opened: Line = openLine(address, options, () => {
      const left = (idle.get(key) ?? []).filter((each) => each !== opened);
      if (left.length > 0) idle.set(key, left);
      else idle.delete(key);
    });
    return { line: opened, fresh: true };
  }

  async function get(address: Address, request: WireRequest, signal: AbortSignal): Promise<WireAnswer> {
    const release = await places.hold(signal);
    const key = `${address.secure} ${address.host} ${address.port}`;
    const { line, fresh } = lineTo(address, key);
    const abort = (): void => line.destroy(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    used.add(line);
    try {
      return await exchange(line, request, (reusable) => {
        signal.removeEventListener('abort', abort);
        used.delete(line);
        release();
        if (!reusable || closed || !line.alive) return line.destroy();
        // It goes on reading, so that its end is noticed, but keeps no process up.
        line.resume();
        line.keep(false);
        const waiting = idle.get(key);
        if (waiting === undefined) idle.set(key, [line]);
        else waiting.push(line);
      });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof NothingCame)) throw error;
      if (fresh) throw error.cause;
      // It was closed while nobody used it.
      return get(address, request, signal);
    }
  }

  return {
    get,
    close() {
      closed = true;
      for (const line of [...used, ...[...idle.values()].flat()]) line.destroy();
      idle.clear();
    },
  };
}
