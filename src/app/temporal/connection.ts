/**
 * Connections of Temporal's client that end with all that they were asked.
 *
 * The SDK's own interceptor waits between attempts of a call whatever becomes of the connection: an attempt on a closed one throws
 * out of its timer, past every handler, and ends the process. Ours makes the same attempts, and none once the connection is closed.
 */
import { setMaxListeners } from 'node:events';
import { Connection, defaultGrpcRetryOptions, type ConnectionOptions } from '@temporalio/client';

export interface OpenConnection {
  readonly connection: Connection;
  /** Ends calls that are under way; those that wait for another attempt fail with what the last one failed with. */
  close(): Promise<void>;
}

/** Not connected yet: the first call does that, or `ensureConnected`. */
export function openConnection(options: ConnectionOptions): OpenConnection {
  const ended = new AbortController();
  // Of each call that waits.
  setMaxListeners(0, ended.signal);
  const connection = Connection.lazy({ ...options, interceptors: [retryingUntil(ended.signal)] });
  return {
    connection,
    async close() {
      ended.abort();
      await connection.close();
    },
  };
}

/** Types of gRPC, as the SDK has them. */
type Interceptor = NonNullable<ConnectionOptions['interceptors']>[number];
type Call = ReturnType<Parameters<Interceptor>[1]>;
type Metadata = Parameters<Call['start']>[0];
type Listener = NonNullable<Parameters<Call['start']>[1]>;
type Status = Parameters<NonNullable<Listener['onReceiveStatus']>>[0];

/** Codes of gRPC. */
const CANCELLED = 1;
const DEADLINE_EXCEEDED = 4;

/** In Unix milliseconds. */
function deadlineOf({ deadline = Infinity }: Parameters<Interceptor>[0]): number {
  return Number(deadline);
}

/** Attempts by the SDK's own rules; all calls to Temporal have one message and one answer. */
function retryingUntil(ended: AbortSignal): Interceptor {
  const { retryableDecider, delayFunction } = defaultGrpcRetryOptions();
  return (options, nextCall) => {
    let call = nextCall(options);
    let message: unknown;
    /** Gives up the wait for another attempt. */
    let giveUp: ((how?: Pick<Status, 'code' | 'details'>) => void) | null = null;

    function start(metadata: Metadata, listener: Listener = {}): void {
      let attempt = 1;
      let answer: unknown = null;
      const close = (): void => (giveUp === null ? call.cancelWithStatus(CANCELLED, 'The connection was closed.') : giveUp());
      ended.addEventListener('abort', close);
      const finish = (status: Status): void => {
        ended.removeEventListener('abort', close);
        listener.onReceiveMessage?.(answer);
        listener.onReceiveStatus?.(status);
      };
      const each: Listener = {
        onReceiveMetadata: (given) => listener.onReceiveMetadata?.(given),
        onReceiveMessage: (given: unknown) => (answer = given),
        onReceiveStatus(status) {
          if (ended.aborted || !retryableDecider(attempt, status)) return finish(status);
          const delay = delayFunction(attempt, status);
          // What the server said tells more than that the time was over.
          if (Date.now() + delay >= deadlineOf(options)) return finish({ ...status, code: DEADLINE_EXCEEDED });
          const over = (): void => {
            clearTimeout(timer);
            giveUp = null;
          };
          const timer = setTimeout(() => {
            over();
            attempt++;
            call = nextCall(options);
            call.start(metadata, each);
            call.sendMessage(message);
            call.halfClose();
          }, delay);
          giveUp = (how) => {
            over();
            finish({ ...status, ...how });
          };
        },
      };
      call.start(metadata, each);
    }

    const retried: Call = {
      start,
      sendMessageWithContext(context, given: unknown) {
        message = given;
        call.sendMessageWithContext(context, given);
      },
      sendMessage(given: unknown) {
        message = given;
        call.sendMessage(given);
      },
      cancelWithStatus: (code, details) => (giveUp === null ? call.cancelWithStatus(code, details) : giveUp({ code, details })),
      halfClose: () => call.halfClose(),
      startRead: () => call.startRead(),
      getPeer: () => call.getPeer(),
      getAuthContext: () => call.getAuthContext(),
    };
    // The declared type is a class with private members, of which nothing but this interface is used.
    return retried as ReturnType<Interceptor>;
  };
}
