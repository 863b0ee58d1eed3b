/**
 * A connection to a server whose bytes go where its user of the moment says: the system writes them there itself.
 *
 * Node's own streams make a buffer of each of the thousands of pieces in which a body arrives, and its HTTP parser a copy; what
 * that leaves behind costs more to collect than the bytes cost to receive. Invariant: of a line that is destroyed, nothing is
 * written to anybody's memory any more.
 */
import { connect as connectPlain, isIP, type LookupFunction, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { StoreFault } from '../store-fault.ts';

export interface Address {
  readonly secure: boolean;
  /** A name, or an address without brackets. */
  readonly host: string;
  readonly port: number;
}

export interface LineOptions {
  /** Milliseconds to reach the server at all. */
  readonly timeoutMs: number;
  readonly lookup?: LookupFunction | undefined;
  /** Certificates to trust instead of those of Node. */
  readonly ca?: string | undefined;
}

export interface Receiver {
  /** Where the next bytes go; never empty. */
  room(): Uint8Array;
  /** So many bytes from the start of what `room` gave last; false: nothing more until `resume`. */
  take(bytes: Uint8Array): boolean;
  /** The connection has ended; null: in good order, by the server. */
  ended(error: Error | null): void;
}

export interface Line {
  /** Memory of the line's own, for what goes nowhere else; also the room for the first bytes after a pause. */
  readonly scratch: Uint8Array;
  /** Takes what comes from now on; null: nobody does, and whatever comes ends the line. */
  receiver: Receiver | null;
  readonly alive: boolean;
  /** `done` only where it succeeded: a write that fails ends the line, which says why. */
  write(bytes: Uint8Array, done: () => void): void;
  resume(): void;
  /** Whether the process stays for it. */
  keep(up: boolean): void;
  destroy(error?: Error): void;
}

/** As Node bounds the head of an answer. */
const SCRATCH = 16 * 1024;

/** Is usable at once: what is written waits for the connection. */
export function openLine({ secure, host, port }: Address, { timeoutMs, lookup, ca }: LineOptions, onEnd: () => void): Line {
  const scratch = new Uint8Array(SCRATCH);
  let failure: Error | null = null;
  const onread = {
    // Typed as one that never changes, but asked before every read.
    buffer: (): Uint8Array => line.receiver?.room() ?? scratch,
    callback(count: number, buffer: Uint8Array): boolean {
      if (line.receiver !== null) return line.receiver.take(buffer.subarray(0, count));
      line.destroy(new Error('the server sent what nobody asked for'));
      return false;
    },
  };
  const options = { host, port, onread, ...(lookup === undefined ? {} : { lookup }) };
  const line: Line = {
    scratch,
    receiver: null,
    get alive() {
      return !socket.destroyed && socket.writable;
    },
    write: (bytes, done) => void socket.write(bytes, (error) => (error ? undefined : done())),
    resume: () => void socket.resume(),
    keep: (up) => void (up ? socket.ref() : socket.unref()),
    destroy: (error) => void socket.destroy(error),
  };
  const socket: Socket = secure
    ? connectTls({ ...options, ALPNProtocols: ['http/1.1'], servername: isIP(host) === 0 ? host : '', ...(ca === undefined ? {} : { ca }) })
    : connectPlain(options);
  const late = setTimeout(() => {
    socket.destroy(new StoreFault(`no connection within ${timeoutMs / 1000} s`, { code: 'ConnectTimeout', retryable: true }));
  }, timeoutMs);
  socket.setNoDelay(true);
  socket.once(secure ? 'secureConnect' : 'connect', () => clearTimeout(late));
  socket.on('error', (error) => (failure = error));
  socket.on('close', () => {
    clearTimeout(late);
    const user = line.receiver;
    line.receiver = null;
    user?.ended(failure);
    onEnd();
  });
  return line;
}

export function closedError(): Error {
  return Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' });
}
