/**
 * Stands before a store and does to its answers what networks and overloaded servers do; counts every request.
 *
 * Requests go through as they came, their Host header too, so that signatures hold.
 */
import { createServer, request as send, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Fault =
  /** Answered at once, without asking the store. */
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  /** The connection is reset after so many bytes of the body; before the headers where absent. */
  | { readonly kind: 'reset'; readonly after?: number }
  /** Nothing comes any more after so many bytes of the body; not even headers where absent. */
  | { readonly kind: 'stall'; readonly after?: number }
  /** The body ends in good order after so many bytes, with no Content-Length that would tell. */
  | { readonly kind: 'truncate'; readonly after: number }
  /** The body goes on with so many bytes more. */
  | { readonly kind: 'lengthen'; readonly by: number }
  /** Headers replaced; null drops one. */
  | { readonly kind: 'headers'; readonly set: Readonly<Record<string, string | null>>; readonly status?: number }
  /** A few bytes at a time. */
  | { readonly kind: 'drip'; readonly bytes: number; readonly everyMs: number };

/** An answer that turns the connection to another protocol. */
export const SWITCHED: Fault = { kind: 'status', status: 101, headers: { connection: 'Upgrade', upgrade: 'other' } };

export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  /** Bytes of its body that have come so far. */
  body: number;
  /** Whether all of the answer has gone out. */
  answered: boolean;
  /** What the store said; null: it was not asked, or has not answered. */
  status: number | null;
}

export interface FaultProxy {
  readonly url: string;
  /** All requests so far, also those that were answered by a fault. */
  readonly seen: readonly Seen[];
  /** Judges each request from now on; `index` counts those it was asked about. */
  inject(judge: (seen: Seen, index: number) => Fault | null): void;
  /** From now on a request goes on to the store once what this gives for it has ended; null: at once. */
  hold(until: (seen: Seen) => Promise<unknown> | null): void;
  /** Forgets what was seen, injects and holds nothing more. */
  reset(): void;
  close(): Promise<void>;
}

export async function startFaultProxy(upstream: string): Promise<FaultProxy> {
  const seen: Seen[] = [];
  const timers = new Set<NodeJS.Timeout>();
  let judge: (seen: Seen, index: number) => Fault | null = () => null;
  let judged = 0;
  let holding: (seen: Seen) => Promise<unknown> | null = () => null;

  const server = createServer((incoming, outgoing) => {
    const one: Seen = { method: incoming.method!, url: incoming.url!, headers: incoming.headers, body: 0, answered: false, status: null };
    seen.push(one);
    outgoing.on('finish', () => void (one.answered = true));
    incoming.on('data', (chunk: Buffer) => (one.body += chunk.length));
    const fault = judge(one, judged++);
    outgoing.on('error', () => undefined);
    incoming.on('error', () => undefined);
    if (fault?.kind === 'status') {
      incoming.resume();
      outgoing.writeHead(fault.status, fault.headers).end(fault.body ?? '');
      return;
    }
    if ((fault?.kind === 'reset' || fault?.kind === 'stall') && fault.after === undefined) {
      incoming.resume();
      if (fault.kind === 'reset') incoming.socket.resetAndDestroy();
      return;
    }
    const held = holding(one);
    if (held === null) forward();
    else {
      incoming.pause();
      void held.then(forward, forward);
    }

    function forward(): void {
      const { hostname, port } = new URL(upstream);
      const forwarded = send({ hostname, port, method: incoming.method, path: incoming.url, headers: incoming.headers }, (answer) => {
        one.status = answer.statusCode!;
        spoil(fault, answer, outgoing, timers);
      });
      forwarded.on('error', () => incoming.socket.destroy());
      outgoing.on('close', () => forwarded.destroy());
      incoming.pipe(forwarded);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    inject(next) {
      judge = next;
      judged = 0;
    },
    hold(until) {
      holding = until;
    },
    reset() {
      seen.length = 0;
      judge = () => null;
      judged = 0;
      holding = () => null;
    },
    async close() {
      for (const timer of timers) clearInterval(timer);
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function spoil(fault: Fault | null, answer: IncomingMessage, outgoing: ServerResponse, timers: Set<NodeJS.Timeout>): void {
  const headers: Record<string, string | string[] | undefined> = { ...answer.headers };
  answer.on('error', () => outgoing.destroy());
  if (fault?.kind === 'headers')
    for (const [name, value] of Object.entries(fault.set)) {
      if (value === null) delete headers[name];
      else headers[name] = value;
    }
  if (fault?.kind === 'truncate' || fault?.kind === 'lengthen') delete headers['content-length'];
  outgoing.writeHead((fault?.kind === 'headers' ? fault.status : undefined) ?? answer.statusCode!, headers);
  if (fault === null || fault.kind === 'headers') {
    answer.pipe(outgoing);
    return;
  }
  if (fault.kind === 'lengthen') {
    answer.on('end', () => outgoing.end(Buffer.alloc(fault.by)));
    answer.pipe(outgoing, { end: false });
    return;
  }
  if (fault.kind === 'drip') {
    const held: Buffer[] = [];
    answer.on('data', (chunk: Buffer) => held.push(chunk));
    answer.on('end', () => {
      const body = Buffer.concat(held);
      let at = 0;
      const timer = setInterval(() => {
        outgoing.write(body.subarray(at, (at += fault.bytes)));
        if (at < body.length && !outgoing.destroyed) return;
        clearInterval(timer);
        outgoing.end();
      }, fault.everyMs);
      timers.add(timer);
    });
    return;
  }
  if (fault.kind === 'status') return;
  let left = fault.after ?? 0;
  answer.on('data', (chunk: Buffer) => {
    if (left <= 0) return;
    const taken = chunk.subarray(0, left);
    left -= taken.length;
    outgoing.write(taken, () => {
      if (left > 0) return;
      if (fault.kind === 'reset') outgoing.socket?.resetAndDestroy();
      else if (fault.kind === 'truncate') outgoing.end();
    });
  });
}
