/**
 * One GET over a line. Node's HTTP client speaks and parses; of a body whose length is told, it sees nothing.
 *
 * Invariant: a line is free for the next exchange exactly when the last byte of this one has come.
 */
import { request as send, type IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { headFault, switchedFault } from '../store-fault.ts';
import { closedError, type Line, type Receiver } from './line.ts';
import { tooLong, type RangeBody } from './range-body.ts';

export interface WireRequest {
  readonly host: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface WireAnswer {
  /** The head; with the body behind it, too, unless it was taken from the line. */
  readonly message: IncomingMessage;
  /** Bytes that were asked for, as they are. Null: `message` has what came instead. */
  readonly body: RangeBody | null;
}

/** The line ended before anything came: the server had closed it while it was idle, or before it answered. */
export class NothingCame extends Error {
  constructor(cause: Error) {
    super(cause.message, { cause });
  }
}

const HEAD_END = Buffer.from('\r\n\r\n');

/** `onDone` says once whether the line may be used again. */
export function exchange(line: Line, { host, path, headers }: WireRequest, onDone: (reusable: boolean) => void): Promise<WireAnswer> {
  return new Promise((resolve, reject) => {
    let isDone = false;
    const finish = (reusable: boolean): void => {
      if (isDone) return;
      isDone = true;
      line.receiver = null;
      onDone(reusable);
    };
    const fail = (error: Error): void => {
      facade.destroy();
      finish(false);
      reject(error);
    };
    // What Node's client takes for its connection.
    const facade = new Duplex({
      read: () => {
        if (line.receiver === streaming) line.resume();
      },
      write: (bytes: Uint8Array, _, next) => line.write(bytes, next),
    });
    /** Of the line's scratch memory. */
    let filled = 0;
    let isHeadThere = false;
    /** What came behind the head, also after a pause: a line that decrypts stops only when it has given what it has. */
    const rest: Buffer[] = [];
    const heading: Receiver = {
      room: () => (isHeadThere ? line.scratch : line.scratch.subarray(filled)),
      take(bytes) {
        if (isHeadThere) {
          rest.push(Buffer.from(bytes));
          return false;
        }
        filled += bytes.length;
        const came = Buffer.from(line.scratch.buffer, 0, filled);
        const end = came.indexOf(HEAD_END);
        if (end < 0) {
          // Whatever the parser would say of it: it may wait for more, which there is no room for.
          if (filled === line.scratch.length) fail(headFault(filled));
          return !isDone;
        }
        isHeadThere = true;
        const length = end + HEAD_END.length;
        rest.push(Buffer.from(came.subarray(length)));
        facade.push(Buffer.from(came.subarray(0, length)));
        return false;
      },
      ended: (error) => fail(filled === 0 ? new NothingCame(error ?? closedError()) : (error ?? closedError())),
    };
    /** Gives Node's client all that comes. */
    const streaming: Receiver = {
      room: () => line.scratch,
      take: (bytes) => facade.push(Buffer.from(bytes)),
      ended: (error) => void (error === null ? facade.push(null) : facade.destroy(error)),
    };
    let isStreamed = false;
    const stream = (): void => {
      if (isStreamed) return;
      isStreamed = true;
      // Not at once: Node's parser is about to come back from the head.
      process.nextTick(() => {
        if (line.receiver !== heading) return;
        line.receiver = streaming;
        for (const bytes of rest) facade.push(bytes);
        line.resume();
      });
    };

    line.receiver = heading;
    const request = send({ method: 'GET', host, path, headers: { ...headers, connection: 'keep-alive' }, createConnection: () => facade });
    const closed = (): void => fail(closedError());
    request.on('error', fail);
    request.on('upgrade', () => fail(switchedFault()));
    request.on('close', closed);
    // Another head follows.
    request.once('information', stream);
    request.on('response', (message) => {
      request.off('close', closed);
      const length = isStreamed ? null : lengthOf(message);
      if (length === null) {
        message.once('close', () => {
          const reusable = message.complete && staysOpen(message) && facade.readableLength === 0;
          facade.destroy();
          finish(reusable);
        });
        stream();
        return resolve({ message, body: null });
      }
      // To Node's client, its connection ends here; what it makes of that is not a failure.
      for (const each of [request, message]) each.removeAllListeners('error').on('error', () => undefined);
      facade.destroy();
      resolve({ message, body: directBody(line, rest, length, (whole) => finish(whole && staysOpen(message))) });
    });
    request.end();
  });
}

/** Of bytes that were asked for and come as they are; null: all else, which Node reads. */
function lengthOf({ statusCode, headers }: IncomingMessage): number | null {
  if ((statusCode !== 200 && statusCode !== 206) || headers['transfer-encoding'] !== undefined) return null;
  const length = headers['content-length'];
  return length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : null;
}

function staysOpen({ httpVersion, headers }: IncomingMessage): boolean {
  return httpVersion === '1.1' && headers.connection?.toLowerCase() !== 'close';
}

/** `rest` came with the head, and goes on growing until the body is asked for. */
function directBody(line: Line, rest: Uint8Array[], length: number, onDone: (whole: boolean) => void): RangeBody {
  let failure: Error | undefined;
  let fail = (error: Error): void => {
    failure = error;
    onDone(false);
  };
  line.receiver = {
    room: () => line.scratch,
    take(bytes) {
      rest.push(Buffer.from(bytes));
      return false;
    },
    ended: (error) => fail(error ?? closedError()),
  };
  return {
    into: (target, onBytes) =>
      new Promise((resolve, reject) => {
        let done = 0;
        fail = (error) => {
          onDone(false);
          reject(error);
        };
        const take = (bytes: Uint8Array): boolean => {
          if (bytes.length > length - done) {
            fail(tooLong(length));
            return false;
          }
          target.take(bytes);
          done += bytes.length;
          onBytes(bytes.length);
          if (done === length) {
            onDone(true);
            resolve();
          }
          return true;
        };
        if (failure !== undefined) return fail(failure);
        if (length > target.left) return fail(tooLong(target.left));
        line.receiver = { room: () => target.room(length - done) ?? line.scratch, take, ended: (error) => fail(error ?? closedError()) };
        if (rest.every(take)) line.resume();
      }),
    destroy: () => fail(new Error('the request was cancelled')),
  };
}
