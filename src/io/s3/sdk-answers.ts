/**
 * The SDK's own exchanges, with what its HTTP handler leaves out.
 *
 * Invariant: every request ends, also one whose connection the server turns to another protocol.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ClientRequest } from 'node:http';
import type { S3Client } from '@aws-sdk/client-s3';
import { switchedFault, type StoreFault } from '../store-fault.ts';

/** Node's channel that tells of every request once it was sent. */
const SENT = 'http.client.request.start';

/** Guards all that the client asks from now on; gives what ends that. */
export function guardAnswers(client: S3Client): () => void {
  // The handler keeps its requests to itself; Node tells of them, and this tells ours from others.
  const asking = new AsyncLocalStorage<(fault: StoreFault) => void>();
  const watch = (message: unknown): void => {
    const fail = asking.getStore();
    if (fail === undefined) return;
    const { request } = message as { readonly request: ClientRequest };
    request.once('upgrade', (_, socket) => {
      socket.destroy();
      fail(switchedFault());
    });
  };
  subscribe(SENT, watch);
  // The innermost step of all commands.
  client.middlewareStack.add(
    (next) => (args) =>
      new Promise((resolve, reject) => {
        asking.run(reject, () => next(args).then(resolve, reject));
      }),
    { step: 'deserialize', priority: 'low', name: 'guardAnswers' },
  );
  return () => void unsubscribe(SENT, watch);
}
