/**
 * A run that is cancelled ends within five seconds, wherever it is: while bytes move, and while a store says nothing any more.
 * The times are said; what is judged is that it ends cancelled and leaves nothing, as this machine may be slow.
 */
import { createReadStream } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { StageSpec } from '../../src/pipeline/contract.ts';
import type { Running } from '../support/cli.ts';
import type { Seen } from '../support/fault-proxy.ts';
import { S3_SETUP_TIMEOUT } from '../support/s3-server.ts';
import { chosenSeed, isPart, openField, say, seeded, type Field, type Lane, type Place } from './field.ts';

const POINTS = 6;

let field: Field;
let lane: Lane;
let worker: Running;
let web: Server;
let random: () => number;
let count = 0;
const times: number[] = [];

beforeAll(async () => {
  field = await openField();
  lane = await field.lane('cancelled');
  worker = await lane.worker();
  random = seeded(chosenSeed());
  // A web server without ranges that answers and then says nothing more.
  web = createServer((_, response) => void response.writeHead(200, { 'content-length': '1000000' }).write('x'.repeat(1000)));
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  await field.server.client.send(
    new PutObjectCommand({
      Bucket: field.bucket,
      Key: 'source.safetensors',
      Body: createReadStream(field.large),
      ContentLength: field.size,
    }),
  );
}, S3_SETUP_TIMEOUT);
afterEach(() => field.proxy.reset());
afterAll(async () => {
  web?.closeAllConnections();
  web?.close();
  if (times.length > 0) say(`cancelled ${times.length} times: ${times.map((ms) => (ms / 1000).toFixed(1)).join(', ')} s`);
  await field?.close();
});

/** Starts a run, cancels it when `now` holds, and gives how it ended. */
async function cancelled(source: StageSpec, place: Place, now: () => boolean | Promise<boolean>) {
  const run = await lane.client.start({
    stages: [source, { type: 'loader.weights_only' }, { type: 'sink.publish', uri: place.uri }],
  });
  while (!(await now())) await sleep(2);
  const began = Date.now();
  await lane.client.cancel(run);
  const result = await lane.client.settled(run);
  times.push(Date.now() - began);
  return result;
}

const place = (kind: 's3' | 'disk') => field.place(kind, `${kind}-${++count}`);
const local = (): StageSpec => ({ type: 'source.local', path: field.large });
const stored = (more: object = {}): StageSpec => ({ type: 'source.s3', url: `s3://${field.bucket}/source.safetensors`, ...more });

test.each(['s3', 'disk'] as const)(`at ${POINTS} random points of a publish to %s`, async (kind) => {
  for (let each = 0; each < POINTS; each++) {
    const point = random();
    const at = await place(kind);
    // From the store to a disk: from disk to disk it would be over before anybody heard of it.
    const result = await cancelled(
      kind === 's3' ? local() : stored(),
      at,
      async () => (await at.isOver()) || (await at.brought()) >= point * field.size,
    );
    say(`  ${kind}: cancelled at ${Math.round(100 * point)} %: ${result.status} after ${(times.at(-1)! / 1000).toFixed(1)} s`);
    // A run that is over before it hears of it is complete.
    expect(['cancelled', 'completed']).toContain(result.status);
    expect(await at.left()).toHaveLength(result.status === 'cancelled' ? 0 : 2);
    await at.remove();
  }
});

const of = (name: string) => (seen: Seen) => seen.url.includes(name);
const isManifest = (seen: Seen): boolean => seen.method === 'PUT' && of('manifest.json')(seen);
const behind = (first: (seen: Seen) => boolean, then: (seen: Seen) => boolean): ((seen: Seen) => boolean) => {
  let passed = false;
  return (seen) => {
    if (passed) return then(seen);
    passed = first(seen);
    return false;
  };
};
const stalls: readonly (readonly [string, () => StageSpec, (seen: Seen) => boolean])[] = [
  ['the look at the source', stored, (seen) => seen.method === 'HEAD' && of('source.safetensors')(seen)],
  ['the first bytes of the source', stored, (seen) => seen.method === 'GET' && of('source.safetensors')(seen)],
  [
    'the read for its checksum',
    () => stored({ expected_checksum: 'ab'.repeat(32) }),
    (seen) => seen.method === 'GET' && of('source.safetensors')(seen) && !/bytes=0-/.test(String(seen.headers.range)),
  ],
  ['the look at the destination', local, (seen) => seen.method === 'HEAD' && of('/s3-')(seen)],
  ['the beginning of the upload', local, (seen) => seen.method === 'POST' && /[?&]uploads\b/.test(seen.url)],
  ['a part', local, isPart],
  ['a copy by the store', stored, (seen) => seen.headers['x-amz-copy-source'] !== undefined],
  ['the completion', local, (seen) => seen.method === 'POST' && seen.url.includes('uploadId=')],
  ['the manifest', local, isManifest],
  ['the look at the output behind its manifest', local, behind(isManifest, (seen) => seen.method === 'HEAD')],
];
test.each(stalls)('while a store stalls at %s', async (_, source, which) => {
  const at = await place('s3');
  let met = false;
  let over = false;
  field.proxy.inject((seen) => {
    if (over || !which(seen)) return null;
    met = true;
    return { kind: 'stall' };
  });
  const result = await cancelled(source(), at, async () => {
    if (!met) return false;
    // From now on the store answers again, so that what is left can be removed; what it was asked before stays unanswered.
    over = true;
    return true;
  });
  expect(result.status).toBe('cancelled');
  expect(await at.left()).toEqual([]);
  await at.remove();
});

test('while a web server says nothing any more', async () => {
  const at = await place('disk');
  let asked = false;
  web.once('request', () => (asked = true));
  const port = (web.address() as AddressInfo).port;
  const result = await cancelled({ type: 'source.http', url: `http://127.0.0.1:${port}/x.ckpt` }, at, () => asked);
  expect(result.status).toBe('cancelled');
  expect(await at.left()).toEqual([]);
});

test('the worker that was cancelled so often still serves', () => {
  expect(worker.process.exitCode).toBeNull();
});
