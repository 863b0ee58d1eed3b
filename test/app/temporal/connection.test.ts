import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from '@jest/globals';
import { CheckpointClient } from '../../../src/app/client.ts';
import { openConnection, type OpenConnection } from '../../../src/app/temporal/connection.ts';

/** Statuses of gRPC. */
const [OK, CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE] = [0, 1, 4, 14];
/** It never comes. */
const NO_ANSWER = -1;
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A server that ends each call with the next of the statuses, and with the last for good; `asked` counts. */
async function serverOf(
  ...statuses: readonly number[]
): Promise<OpenConnection & { readonly address: string; readonly asked: () => number }> {
  let asked = 0;
  const sessions = new Set<{ destroy(): void }>();
  const server: Http2Server = createServer();
  server.on('session', (session) => sessions.add(session));
  server.on('stream', (stream: ServerHttp2Stream) => {
    const status = String(statuses[Math.min(asked++, statuses.length - 1)]);
    const head = { ':status': 200, 'content-type': 'application/grpc' };
    if (status === String(NO_ANSWER)) return;
    if (status !== String(OK)) return stream.respond({ ...head, 'grpc-status': status }, { endStream: true });
    stream.respond(head, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status }));
    // An empty message, with its five bytes of header.
    stream.end(Buffer.alloc(5));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const open = openConnection({ address });
  closing.push(open.close, () => {
    for (const session of sessions) session.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return { ...open, address, asked: () => asked };
}

async function until(holds: () => boolean): Promise<void> {
  for (let look = 0; !holds(); look++) {
    if (look > 1000) throw new Error('it does not come to that');
    await sleep(5);
  }
}

/** How calls end; one that does not, whose attempt threw past it, would hold the test for ever. */
function endsOf(calls: readonly Promise<unknown>[]): Promise<readonly PromiseSettledResult<unknown>[]> {
  const never = sleep(8000, undefined, { ref: false }).then(() => Promise.reject(new Error('it does not end')));
  return Promise.allSettled(calls.map((call) => Promise.race([call, never])));
}

test('a call is tried again until it is answered', async () => {
  const { connection, asked } = await serverOf(UNAVAILABLE, UNAVAILABLE, OK);
  expect(await connection.workflowService.getSystemInfo({})).toEqual({});
  expect(asked()).toBe(3);
});

test('what another attempt does not mend fails at once', async () => {
  const { connection, asked } = await serverOf(7);
  await expect(connection.workflowService.getSystemInfo({})).rejects.toMatchObject({ code: 7 });
  expect(asked()).toBe(1);
});

test('a call that waits for another attempt fails when the connection is closed, and no attempt follows', async () => {
  const { connection, close, asked } = await serverOf(UNAVAILABLE);
  const calls = [connection.workflowService.getSystemInfo({}), connection.workflowService.getClusterInfo({})];
  const ends = endsOf(calls);
  await until(() => asked() >= 3);
  await sleep(20);
  await close();
  // One that was just under way when the connection was closed is cancelled.
  for (const end of await ends) expect([UNAVAILABLE, CANCELLED]).toContain((end as { reason?: { code?: number } }).reason?.code);
  // An attempt on a closed connection throws out of its timer: it would be the test's own end.
  const before = asked();
  await sleep(600);
  expect(asked()).toBe(before);
});

test('a call that nobody answers ends when the connection is closed', async () => {
  const { connection, close, asked } = await serverOf(NO_ANSWER);
  const ends = endsOf([connection.workflowService.getSystemInfo({})]);
  await until(() => asked() === 1);
  await close();
  expect(await ends).toMatchObject([{ reason: { code: CANCELLED, details: 'The connection was closed.' } }]);
});

test('where the next attempt would come too late, what the server said is told at once', async () => {
  const { connection, asked } = await serverOf(UNAVAILABLE);
  const call = connection.withDeadline(Date.now() + 60, () => connection.workflowService.getSystemInfo({}));
  expect(await endsOf([call])).toMatchObject([
    { reason: { code: DEADLINE_EXCEEDED, details: expect.not.stringContaining('Deadline exceeded') } },
  ]);
  expect(asked()).toBe(1);
});

test('what a client was asked when it is closed is told so', async () => {
  const { asked, address } = await serverOf(OK, UNAVAILABLE);
  process.env['TEMPORAL_ADDRESS'] = address;
  closing.push(() => delete process.env['TEMPORAL_ADDRESS']);
  const client = await CheckpointClient.connect();
  const run = { workflowId: 'a', runId: 'b' };
  const asks = [client.status(run), client.settled(run), client.cancel(run), client.watch(run).next()];
  const ends = endsOf(asks);
  await until(() => asked() > asks.length);
  await client.close();
  for (const end of await ends)
    expect(end).toMatchObject({ reason: { code: 'CheckpointConfigError', message: expect.stringContaining('This client was closed.') } });
});

test('a signal ends a call while it waits for another attempt', async () => {
  const { connection, asked } = await serverOf(UNAVAILABLE);
  const given = new AbortController();
  const call = connection.withAbortSignal(given.signal, () => connection.workflowService.getSystemInfo({}));
  const ends = endsOf([call]);
  await until(() => asked() >= 2);
  await sleep(20);
  given.abort();
  expect(await ends).toMatchObject([{ reason: { code: CANCELLED } }]);
});
