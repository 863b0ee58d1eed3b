/** What an orchestrator, or whoever else reaches the port, gets of a worker. */
import { connect } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { serveHealth, type HealthServer } from '../../src/app/health.ts';

let health: HealthServer;
beforeEach(async () => {
  const queues = [{ task_queue: 'q', state: 'RUNNING', activities: 1 }];
  health = await serveHealth({ host: '127.0.0.1', port: 0 }, async ({ server }) => ({ queues, server: server ? 'away' : null }));
});
afterEach(() => health.close());

/** The status of an answer to a request line as it stands: clients would refuse to send some. */
function status(line: string): Promise<number> {
  const port = Number(health.address.split(':').at(-1));
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`));
    let text = '';
    socket.on('data', (chunk) => (text += String(chunk))).on('error', reject);
    socket.on('end', () => resolve(Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1])));
  });
}

test.each([
  ['GET /healthz', 200],
  ['HEAD /healthz?probe=1', 200],
  ['GET /readyz', 503],
  ['POST /healthz', 405],
  ['GET /', 404],
  ['GET //', 404],
  ['GET http://[/', 404],
  ['GET *', 404],
])('%s: %d', async (line, expected) => {
  expect(await status(line)).toBe(expected);
  // It is still there.
  expect(await status('GET /healthz')).toBe(200);
});
