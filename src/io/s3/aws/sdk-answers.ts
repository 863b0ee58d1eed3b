/**
 * The SDK's own exchanges, with what its HTTP handler leaves out.
 *
 * Invariant: every request ends, also one whose connection the server turns to another protocol; of an answer that is not an object,
 * no more is held than any such answer of a store has; a list is a list, and an error no success.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ClientRequest } from 'node:http';
import { Readable } from 'node:stream';
import type { S3Client } from '@aws-sdk/client-s3';
import { StoreFault, switchedFault, tlsFault } from '../../store-fault.ts';
import { statusByXml } from './xml-answers.ts';

/** Bytes of an answer that is not an object: a page of a listing has a thousand keys of a kilobyte, six times that when XML escapes all of it. */
const ANSWER_MOST = 16 * 2 ** 20;
/** Node's channel that tells of every request once it was sent. */
const SENT = 'http.client.request.start';

interface Answer {
  statusCode: number;
  body: Readable;
}

/** Guards all that the client asks from now on; gives what ends that. */
export function guardAnswers(client: S3Client): () => void {
  // The handler keeps its requests to itself; Node tells of them, and this tells ours from others.
  const asking = new AsyncLocalStorage<true>();
  const watch = (message: unknown): void => {
    if (asking.getStore() === undefined) return;
    const { request } = message as { readonly request: ClientRequest };
    request.once('upgrade', (_, socket) => {
      socket.destroy();
      // Of all that ends a request, the handler hears its errors alone.
      request.emit('error', switchedFault());
    });
  };
  subscribe(SENT, watch);
  // The innermost step of all commands.
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        const result = await asking
          .run(true, () => next(args))
          .catch((error: unknown) => {
            throw tlsFault(error) ?? error;
          });
        // Of the SDK's answers over HTTP every one is so.
        const answer = result.response as Answer;
        if (commandName !== 'GetObjectCommand' || answer.statusCode >= 300) {
          const body = await readWhole(answer);
          if (answer.statusCode === 200) answer.statusCode = statusByXml(commandName ?? '', body);
          answer.body = Readable.from([body]);
        }
        return result;
      },
    { step: 'deserialize', priority: 'low', name: 'guardAnswers' },
  );
  return () => void unsubscribe(SENT, watch);
}

async function readWhole({ statusCode, body }: Answer): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > ANSWER_MOST)
      throw new StoreFault(`the answer is not S3's: it goes on after ${ANSWER_MOST} bytes`, {
        code: 'UnknownAnswer',
        status: statusCode,
        retryable: false,
      });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
