/** What an orchestrator, or whoever else reaches the port, gets of a worker. */
import { connect } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { refusedAddress } from '../../src/app/addresses.ts';
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

test('a port that another program has: what to do is said', async () => {
  const address = { host: '127.0.0.1', port: Number(health.address.split(':').at(-1)) };
  await expect(serveHealth(address, async () => ({ queues: [], server: null }))).rejects.toMatchObject({
    code: 'CheckpointConfigError',
    message: `The health endpoint cannot listen on ${health.address}: another program listens there, perhaps another worker. Name another port (\`--health-port\` or CKPT_HEALTH_PORT).`,
  });
});

test.each([
  ['Failed to start prometheus metrics exporter: Address already in use (os error 98)', 'another program listens there'],
  ['Failed to start prometheus metrics exporter: Cannot assign requested address (os error 99)', 'this machine has no such address'],
  ['listen EACCES: permission denied 127.0.0.1:80', 'Name one from 1024 on'],
  ['something else', 'something else. Name another address (S).'],
])('%s', (words, says) => {
  expect(refusedAddress('It', { host: '127.0.0.1', port: 80 }, 'S', new Error(words)).message).toContain(says);
});

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
