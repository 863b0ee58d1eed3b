import { createHash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { createServer, IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { CheckpointError } from '../../../src/errors.ts';
import { createHttpClient } from '../../../src/io/http/client.ts';
import { forgetHttp, openHttp, openPinnedHttp, type HttpPlace } from '../../../src/io/http/source.ts';
import { createSpoolCache } from '../../../src/io/http/spool-cache.ts';
import { RETRY, type RetryPolicy } from '../../../src/io/retry.ts';
import { createStorage } from '../../../src/io/storage/storage.ts';
import { pin } from '../../../src/model/byte-source.ts';
import { startFaultProxy, SWITCHED, type Fault, type FaultProxy } from '../../support/fault-proxy.ts';
import { noise } from '../../support/memory-source.ts';
import { SELF_SIGNED } from '../../support/self-signed.ts';

const QUICK: RetryPolicy = { ...RETRY, tries: 3, pauseMs: 5, longestMs: 1500, stallMs: 20_000 };
/** For what stalls: long enough for a busy machine, no longer. */
const IMPATIENT: RetryPolicy = { ...QUICK, stallMs: 1000 };
const policyFor = ({ kind }: Fault): RetryPolicy => (kind === 'stall' || kind === 'drip' ? IMPATIENT : QUICK);
const CONTENT = noise(300_000);
const SHA256 = createHash('sha256').update(CONTENT).digest('hex');

/** What the server holds under each path, and what it can do. */
interface Page {
  content: Uint8Array;
  etag: string | null;
  modified?: string;
  ranges: boolean;
  /** No ranges but those that go on with what is known. */
  onlyRests?: boolean;
  chunked?: boolean;
}

let pages: Map<string, Page>;
let server: Server;
let origin: string;
let proxy: FaultProxy;
let folder: string;
let place: HttpPlace;

function serve(request: IncomingMessage, response: ServerResponse): void {
  const path = request.url!;
  const hop = /^\/redirect\/(\d+)(\/.*)$/.exec(path);
  if (hop !== null) {
    const left = Number(hop[1]);
    response.writeHead(302, { location: left <= 1 ? hop[2]! : `/redirect/${left - 1}${hop[2]!}` }).end();
    return;
  }
  if (path.startsWith('/to?url=')) {
    response.writeHead(307, { location: decodeURIComponent(path.slice(8)) }).end();
    return;
  }
  if (path === '/signed.ckpt') {
    response.writeHead(302, { location: '/gone.ckpt?X-Amz-Signature=hush&X-Amz-Credential=hush' }).end();
    return;
  }
  const page = pages.get(path);
  if (page === undefined) {
    response.writeHead(404).end('no such page');
    return;
  }
  const headers: Record<string, string> = {
    ...(page.etag === null ? {} : { etag: page.etag }),
    ...(page.modified === undefined ? {} : { 'last-modified': page.modified }),
  };
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const condition = request.headers['if-range'];
  const fits = condition === undefined || condition === page.etag || condition === page.modified;
  const given = page.ranges || (page.onlyRests === true && condition !== undefined);
  if (!given || range === null || !fits) {
    response.writeHead(200, { ...headers, ...(page.chunked === true ? {} : { 'content-length': String(page.content.length) }) });
    response.end(page.content);
    return;
  }
  const from = Number(range[1]);
  const end = range[2] === '' ? page.content.length : Math.min(page.content.length, Number(range[2]) + 1);
  if (from >= page.content.length) {
    response.writeHead(416, { 'content-range': `bytes */${page.content.length}` }).end();
    return;
  }
  response.writeHead(206, {
    ...headers,
    'content-range': `bytes ${from}-${end - 1}/${page.content.length}`,
    'content-length': String(end - from),
  });
  response.end(page.content.subarray(from, end));
}

beforeAll(async () => {
  server = createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  proxy = await startFaultProxy(origin);
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-http-'));
  place = { client: createHttpClient({ allowPrivate: true }), cache: createSpoolCache(folder, 1_000_000), policy: QUICK };
  pages = new Map<string, Page>([
    ['/ranged.ckpt', { content: CONTENT, etag: '"one"', ranges: true }],
    ['/dated.ckpt', { content: CONTENT, etag: 'W/"weak"', modified: 'Mon, 01 Jan 2024 00:00:00 GMT', ranges: true }],
    ['/bare.ckpt', { content: CONTENT, etag: null, ranges: true }],
    ['/whole.ckpt', { content: CONTENT, etag: '"one"', ranges: false }],
    ['/chunked.ckpt', { content: CONTENT, etag: null, ranges: false, chunked: true }],
    ['/small.ckpt', { content: CONTENT.subarray(0, 100), etag: '"s"', ranges: true }],
    ['/empty.ckpt', { content: new Uint8Array(0), etag: '"e"', ranges: true }],
  ]);
});
afterEach(async () => {
  proxy.reset();
  place.client.close();
  await rm(folder, { recursive: true, force: true });
});
afterAll(async () => {
  await proxy?.close();
  server?.closeAllConnections();
  await new Promise((resolve) => server?.close(resolve));
});

const open = (path: string) => openHttp(place, `${proxy.url}${path}`);
const same = (bytes: Uint8Array, from: number, to: number): void => expect(Buffer.compare(bytes, CONTENT.subarray(from, to))).toBe(0);

async function errorOf(work: Promise<unknown>): Promise<CheckpointError> {
  return work.then(
    () => {
      throw new Error('it should have failed');
    },
    (error: CheckpointError) => error,
  );
}

describe('a server with ranges', () => {
  test.each([
    ['/ranged.ckpt', 'etag="one"'],
    ['/dated.ckpt', 'modified=Mon, 01 Jan 2024 00:00:00 GMT'],
  ])('%s is pinned and read by ranges, the first bytes once', async (path, identity) => {
    const source = await open(path);
    expect(source).toMatchObject({ size: CONTENT.length, identity, uri: `${proxy.url}${path}` });
    same(await source.read(0, 65_536), 0, 65_536);
    expect(proxy.seen).toHaveLength(1);
    same(await source.read(65_000, 100_000), 65_000, 165_000);
    expect(proxy.seen.map(({ headers }) => [headers.range, headers['if-range']])).toEqual([
      ['bytes=0-65535', undefined],
      ['bytes=65000-164999', identity.slice(identity.indexOf('=') + 1)],
    ]);
    const pinned = await openPinnedHttp(place, pin(source));
    same(await pinned.read(10, 10), 10, 20);
    const pieces = [10, 90_000, 100].map((length) => new Uint8Array(length));
    proxy.reset();
    await pinned.readEach!(40_000, pieces);
    same(Buffer.concat(pieces), 40_000, 130_110);
    expect(proxy.seen.map(({ headers }) => headers.range)).toEqual(['bytes=40000-130109']);
    expect(await readdir(folder)).toEqual([]);
  });

  test('bodies go from the socket to where they belong, and through no stream of Node', async () => {
    const pushed = jest.spyOn(IncomingMessage.prototype, 'push');
    try {
      const source = await openHttp(place, `${origin}/redirect/1/ranged.ckpt`);
      same(await source.read(70_000, 200_000), 70_000, 270_000);
      expect(pushed.mock.calls.filter(([chunk]) => chunk !== null)).toHaveLength(0);
    } finally {
      pushed.mockRestore();
    }
  });

  test('a small file is one request; one without bytes is empty', async () => {
    same(await (await open('/small.ckpt')).read(0, 100), 0, 100);
    expect(proxy.seen).toHaveLength(1);
    const empty = await open('/empty.ckpt');
    expect(empty.size).toBe(0);
    await empty.close();
  });

  test.each(['/ranged.ckpt', '/dated.ckpt'])('%s that changes is never mixed', async (path) => {
    const source = await open(path);
    Object.assign(pages.get(path)!, { etag: '"two"', modified: 'Tue, 02 Jan 2024 00:00:00 GMT' });
    proxy.reset();
    const error = await errorOf(source.read(100_000, 10));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false });
    expect(error.message).toContain('changed since it was pinned');
    expect(proxy.seen).toHaveLength(1);
  });
});

describe('a server that stops naming the version', () => {
  test.each([
    ['the entity tag is missing', null],
    ['the entity tag is empty', ''],
    ['the entity tag is empty between its quotes', '""'],
    ['the entity tag is weak', 'W/"one"'],
  ])('%s: nothing of the answer is taken', async (_, etag) => {
    const source = await open('/ranged.ckpt');
    proxy.reset();
    proxy.inject(() => ({ kind: 'headers', set: { etag } }));
    const error = await errorOf(source.read(100_000, 10));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { code: 'Changed' } });
    expect(error.message).toContain('the answer does not name the version any more, expected etag="one"');
    expect(proxy.seen).toHaveLength(1);
  });

  test.each([
    ['/ranged.ckpt', 'etag="one"', { etag: null }],
    ['/dated.ckpt', 'modified=Mon, 01 Jan 2024 00:00:00 GMT', { 'last-modified': null }],
  ])('%s, all of it in an answer of status 200', async (path, identity, set) => {
    const pinned = await openPinnedHttp(place, { uri: `${proxy.url}${path}`, size: CONTENT.length, identity });
    pages.get(path)!.ranges = false;
    proxy.inject(() => ({ kind: 'headers', set }));
    expect(await errorOf(pinned.read(0, CONTENT.length))).toMatchObject({ details: { code: 'Changed' } });
  });

  test('a range need not repeat the time of the last change', async () => {
    const source = await open('/dated.ckpt');
    proxy.inject(() => ({ kind: 'headers', set: { 'last-modified': null } }));
    same(await source.read(100_000, 10), 100_000, 100_010);
  });

  test.each(['', '""'])('the empty tag `%s` pins nothing, and is never sent', async (etag) => {
    pages.get('/ranged.ckpt')!.etag = etag;
    const source = await open('/ranged.ckpt');
    expect(source.identity).toBe(`sha256=${SHA256}`);
    await source.close();
    expect(proxy.seen.map(({ headers }) => headers['if-range'])).toEqual([undefined, undefined]);
  });

  test('in the midst of a transfer: it begins anew', async () => {
    const page = pages.get('/whole.ckpt')!;
    place = { ...place, policy: IMPATIENT };
    proxy.inject((seen, index) => {
      page.ranges = seen.headers['if-range'] !== undefined;
      if (index === 1) return { kind: 'stall', after: 100_000 };
      return page.ranges ? { kind: 'headers', set: { etag: null } } : null;
    });
    const source = await open('/whole.ckpt');
    same(await source.read(0, 300_000), 0, 300_000);
    await source.close();
    expect(proxy.seen.map(({ headers }) => headers['if-range'])).toEqual([undefined, undefined, '"one"', undefined]);
  });
});

describe('a server without ranges, or with nothing to pin by', () => {
  test.each(['/whole.ckpt', '/chunked.ckpt', '/bare.ckpt'])('%s goes once through the cache', async (path) => {
    const source = await open(path);
    expect(source).toMatchObject({ size: CONTENT.length, identity: `sha256=${SHA256}` });
    same(await source.read(100_000, 100_000), 100_000, 200_000);
    await source.close();
    expect(await readdir(folder)).toEqual([SHA256]);
    proxy.reset();
    const pinned = await openPinnedHttp(place, pin(source));
    same(await pinned.read(0, 10), 0, 10);
    await pinned.close();
    expect(proxy.seen).toHaveLength(0);
  });

  test('pinned on another worker, it is read again and compared', async () => {
    const source = await open('/whole.ckpt');
    await source.close();
    await rm(join(folder, SHA256));
    await (await openPinnedHttp(place, pin(source))).close();
    await rm(join(folder, SHA256));
    pages.get('/whole.ckpt')!.content = noise(300_000, 2);
    expect((await errorOf(openPinnedHttp(place, pin(source)))).message).toContain('changed since it was pinned');
  });

  test('a transfer that breaks off begins anew, and leaves nothing else behind', async () => {
    proxy.inject((_, index) => (index === 1 ? { kind: 'reset', after: 100_000 } : null));
    const source = await open('/chunked.ckpt');
    same(await source.read(0, 300_000), 0, 300_000);
    await source.close();
    expect(await readdir(folder)).toEqual([SHA256]);
  });

  test('what an attempt left is gone on with, where the server lets us', async () => {
    const page = pages.get('/whole.ckpt')!;
    place = { ...place, policy: { ...IMPATIENT, stallTries: 1 } };
    // A stall, no reset: that may take with it what had already arrived.
    proxy.inject((_, index) => (index === 0 ? null : { kind: 'stall', after: 100_000 }));
    await errorOf(open('/whole.ckpt'));
    const [left] = await readdir(folder);
    expect(left).toMatch(/\.partial$/);
    const old = new Date(Date.now() - 3600_000);
    await utimes(join(folder, left!), old, old);
    // It has learnt ranges for who resumes, though not for the first bytes.
    proxy.reset();
    proxy.inject((seen) => {
      page.ranges = seen.headers['if-range'] !== undefined;
      return null;
    });
    const source = await open('/whole.ckpt');
    same(await source.read(0, 300_000), 0, 300_000);
    await source.close();
    expect(proxy.seen.at(-1)!.headers.range).toMatch(/^bytes=[1-9]\d*-$/);
    expect(await readdir(folder)).toEqual([SHA256]);
  });

  const stalls = async (path = '/whole.ckpt', signal?: AbortSignal): Promise<CheckpointError> => {
    place = { ...place, policy: { ...IMPATIENT, stallTries: 1 } };
    proxy.reset();
    proxy.inject((_, index) => (index === 0 ? null : { kind: 'stall', after: 100_000 }));
    return errorOf(openHttp(place, `${proxy.url}${path}`, signal));
  };

  test('of attempts that break off one after the other a single partial file is left, and the next one begins with it at once', async () => {
    await stalls();
    const before = await readdir(folder);
    expect(before).toHaveLength(1);
    // Another try is given the rest; it stalls, too.
    pages.get('/whole.ckpt')!.onlyRests = true;
    await stalls();
    expect(proxy.seen.at(-1)!.headers.range).toMatch(/^bytes=[1-9]\d*-$/);
    const left = await readdir(folder);
    expect(left).toHaveLength(1);
    expect(left).not.toEqual(before);
  });

  test('what a server without ranges broke off is of use to nobody, and goes', async () => {
    place = { ...place, policy: IMPATIENT };
    // Each time all of it anew, though the rest alone was asked for.
    proxy.inject((_, index) => (index === 0 ? null : { kind: 'stall', after: 100_000 }));
    expect(await errorOf(open('/whole.ckpt'))).toMatchObject({ retryable: true });
    expect(proxy.seen.map(({ headers }) => headers.range?.replace(/\d+-$/, '…'))).toEqual([
      'bytes=0-65535',
      undefined,
      'bytes=…',
      undefined,
    ]);
    expect(await readdir(folder)).toEqual([]);
  });

  test.each([
    ['CANCELLED', 0],
    ['WORKER_SHUTDOWN', 1],
  ])('an attempt that ends by %s leaves %d partial files', async (reason, count) => {
    const abort = new AbortController();
    const ended = stalls('/whole.ckpt', abort.signal);
    while (!(await readdir(folder)).some((name) => statSync(join(folder, name)).size > 0)) await sleep(5);
    abort.abort(new Error(reason));
    await ended;
    expect(await readdir(folder)).toHaveLength(count);
  });

  test('of a version that was replaced nothing is left once all of the other has come', async () => {
    await stalls();
    pages.get('/whole.ckpt')!.etag = '"another"';
    place = { ...place, policy: QUICK };
    proxy.reset();
    await (await open('/whole.ckpt')).close();
    expect(await readdir(folder)).toEqual([SHA256]);
  });

  test('after the last attempt what is left of a file is forgotten, and nothing of others', async () => {
    pages.set('/other.ckpt', pages.get('/whole.ckpt')!);
    await stalls();
    await stalls('/other.ckpt');
    expect(await readdir(folder)).toHaveLength(2);
    await forgetHttp(place, `${proxy.url}/whole.ckpt`);
    expect(await readdir(folder)).toHaveLength(1);
    await forgetHttp(place, `${proxy.url}/other.ckpt`);
    expect(await readdir(folder)).toEqual([]);
  });

  test('the cache keeps to its limit: the copies used longest ago go', async () => {
    for (const [name, age] of [
      ['a', 3],
      ['b', 2],
      ['c', 1],
    ] as const) {
      await writeFile(join(folder, name), new Uint8Array(300_000));
      const used = new Date(Date.now() - age * 60_000);
      await utimes(join(folder, name), used, used);
    }
    await writeFile(join(folder, 'old.partial'), 'x');
    await utimes(join(folder, 'old.partial'), new Date(0), new Date(0));
    await (await open('/whole.ckpt')).close();
    expect((await readdir(folder)).sort()).toEqual([SHA256, 'b', 'c'].sort());
  });

  test.each(['/whole.ckpt', '/chunked.ckpt'])('%s that is larger than the cache is refused', async (path) => {
    place = { ...place, cache: createSpoolCache(folder, 200_000) };
    const error = await errorOf(open(path));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { code: 'TooLarge' } });
    expect(await readdir(folder)).toEqual([]);
  });

  test.each(['/whole.ckpt', '/chunked.ckpt', '/ranged.ckpt'])('%s that is larger than what is taken is refused', async (path) => {
    const error = await errorOf(openHttp({ ...place, most: 200_000 }, `${proxy.url}${path}`));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { code: 'TooLarge' } });
    expect(error.message).toContain('at most 200000 were expected');
    expect(await readdir(folder)).toEqual([]);
  });

  test('beside a small partial file, too large stays too large', async () => {
    place = { ...place, cache: createSpoolCache(folder, 200_000) };
    await writeFile(join(folder, 'other.partial'), new Uint8Array(12_000));
    expect(await errorOf(open('/chunked.ckpt'))).toMatchObject({ retryable: false, details: { code: 'TooLarge' } });
    expect(await readdir(folder)).toEqual(['other.partial']);
  });

  test('a partial file that nobody goes on with gives way to what would not fit beside it', async () => {
    place = { ...place, cache: createSpoolCache(folder, 300_000) };
    const left = join(folder, 'other.partial');
    await writeFile(left, 'x');
    expect(await errorOf(open('/whole.ckpt'))).toMatchObject({ retryable: true, details: { code: 'CacheFull' } });
    const used = new Date(Date.now() - 120_000);
    await utimes(left, used, used);
    await (await open('/whole.ckpt')).close();
    expect(await readdir(folder)).toEqual([SHA256]);
  });

  test('transfers at the same time keep to the limit together: one waits for the other, or fails and comes again', async () => {
    place = { ...place, cache: createSpoolCache(folder, 500_000) };
    pages.set('/other.ckpt', { content: noise(300_000, 9), etag: '"other"', ranges: false });
    let most = 0;
    const timer = setInterval(() => {
      const sizes = readdirSync(folder).map((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0);
      most = Math.max(
        most,
        sizes.reduce((sum, size) => sum + size, 0),
      );
    }, 1);
    proxy.inject((_, index) => (index < 4 ? { kind: 'drip', bytes: 30_000, everyMs: 10 } : null));
    const ended = await Promise.allSettled([open('/whole.ckpt'), open('/other.ckpt')]);
    clearInterval(timer);
    expect(ended.some(({ status }) => status === 'fulfilled')).toBe(true);
    for (const each of ended)
      if (each.status === 'fulfilled') await each.value.close();
      else expect(each.reason).toMatchObject({ retryable: true, details: { code: 'CacheFull' } });
    expect(most).toBeLessThanOrEqual(500_000);
  });

  test('what comes packed is refused, not unpacked, and leaves nothing', async () => {
    proxy.inject(() => ({ kind: 'headers', set: { 'content-encoding': 'gzip' } }));
    const error = await errorOf(open('/whole.ckpt'));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { code: 'ContentEncoding' } });
    expect(error.message).toContain('as gzip though it was asked not to');
    expect(error.message).toContain('Have the server, or a proxy before it, pack no such files');
    expect(proxy.seen.every(({ headers }) => headers['accept-encoding'] === 'identity')).toBe(true);
    expect(await readdir(folder)).toEqual([]);
  });

  test('what is said to be packed as nothing is not packed, however that is written', async () => {
    proxy.inject(() => ({ kind: 'headers', set: { 'content-encoding': 'Identity' } }));
    for (const path of ['/ranged.ckpt', '/whole.ckpt']) {
      const source = await open(path);
      expect(await source.read(100_000, 10)).toEqual(CONTENT.slice(100_000, 100_010));
      await source.close();
    }
  });

  test('several ranges in one answer are not a range: the file goes through the cache', async () => {
    proxy.inject((_, index) =>
      index === 0 ? { kind: 'headers', set: { 'content-range': null, 'content-type': 'multipart/byteranges; boundary=b' } } : null,
    );
    const source = await open('/ranged.ckpt');
    expect(source.identity).toBe(`sha256=${SHA256}`);
    await source.close();
  });
});

describe('a limit for stalls', () => {
  const storage = (policy: RetryPolicy) => createStorage({ policy, cacheFolder: folder });

  test('a slow download that never stalls is given its time', async () => {
    proxy.inject(() => ({ kind: 'drip', bytes: 20_000, everyMs: 100 }));
    const own = storage(QUICK);
    const started = performance.now();
    const source = await own.open(`${proxy.url}/whole.ckpt`, undefined, 1);
    expect(performance.now() - started).toBeGreaterThan(1200);
    same(await source.read(0, 300_000), 0, 300_000);
    await source.close();
    own.close();
  });

  // Whether there are ranges is asked first.
  test.each([
    ['/whole.ckpt', 2],
    ['/ranged.ckpt', 1],
  ])('%s that stalls for so long fails, and is not asked again at once', async (path, requests) => {
    proxy.inject(() => ({ kind: 'stall', after: 10 }));
    const own = storage(QUICK);
    const error = await errorOf(own.open(`${proxy.url}${path}`, undefined, 0.5));
    own.close();
    const url = `${proxy.url}${path}`;
    const details = { url, timeout_seconds: 0.5, attempts: 1 };
    expect(error).toMatchObject({ code: 'CheckpointTimeoutError', retryable: true, details });
    expect(error.message).toContain(`Reading ${url} stalled: fewer than 4096 bytes came within 0.5 s.`);
    expect(proxy.seen).toHaveLength(requests);
  });

  test('other faults are tried as ever, and a limit of weeks is one', async () => {
    proxy.inject((_, index) => (index < 2 ? { kind: 'status', status: 503 } : null));
    const own = storage(QUICK);
    await (await own.open(`${proxy.url}/ranged.ckpt`, undefined, 30 * 24 * 3600)).close();
    own.close();
    expect(proxy.seen).toHaveLength(3);
  });
});

describe('redirects', () => {
  test('ten are followed, eleven are not', async () => {
    same(await (await open('/redirect/10/ranged.ckpt')).read(0, 10), 0, 10);
    expect(await errorOf(open('/redirect/11/ranged.ckpt'))).toMatchObject({ retryable: false, details: { code: 'TooManyRedirects' } });
  });

  test.each([['file:///etc/passwd'], ['ftp://127.0.0.1/x'], ['http://user:hush@127.0.0.1/x']])('%s is not followed', async (to) => {
    const error = await errorOf(open(`/to?url=${encodeURIComponent(to)}`));
    expect(error).toMatchObject({ retryable: false, details: { code: 'RedirectRefused' } });
    expect(error.message).not.toContain('user:hush@');
  });

  test('a signature that a redirect brings is followed, and shows nowhere', async () => {
    const error = await errorOf(open('/signed.ckpt'));
    expect(proxy.seen.at(-1)!.url).toContain('hush');
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { status: 404 } });
    expect(JSON.stringify([error.message, error.details, String(error.cause), error.stack])).not.toContain('hush');
  });
});

test('what a server says of its status is repeated nowhere', async () => {
  const talking = createServer((request, response) => {
    response.statusMessage = `Not found: ${request.url}`;
    response.writeHead(request.url!.includes('odd') ? 499 : 404).end();
  });
  await new Promise<void>((resolve) => talking.listen(0, '127.0.0.1', resolve));
  try {
    const at = `http://127.0.0.1:${(talking.address() as AddressInfo).port}`;
    for (const [path, says] of [
      ['/hush', '404: Not Found.'],
      ['/hush-odd', '499: a status that nobody has defined.'],
    ] as const) {
      const to = `/to?url=${encodeURIComponent(at + path)}`;
      const error = await errorOf(open(to));
      expect(error.message).toContain(says);
      expect(
        JSON.stringify([error.message, error.details, String(error.cause), error.stack]).replaceAll(encodeURIComponent(at + path), ''),
      ).not.toContain('hush');
    }
  } finally {
    talking.closeAllConnections();
    await new Promise((resolve) => talking.close(resolve));
  }
});

test('a server whose certificate nobody knows: final, with what to do', async () => {
  const secure = createSecureServer(SELF_SIGNED, (_, response) => response.end());
  await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
  try {
    const error = await errorOf(openHttp(place, `https://127.0.0.1:${(secure.address() as AddressInfo).port}/x.ckpt`));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { attempts: 1 } });
    expect(error.message).toContain('NODE_EXTRA_CA_CERTS');
  } finally {
    await new Promise((resolve) => secure.close(resolve));
  }
});

describe('addresses', () => {
  const fenced = createStorage({ settings: { s3: [], http: {}, allow: { private_addresses: false } } });
  afterAll(() => fenced.close());

  test.each([
    'http://127.0.0.1:PORT/ranged.ckpt',
    'http://localhost:PORT/ranged.ckpt',
    'http://[::1]:PORT/ranged.ckpt',
    'http://[::ffff:127.0.0.1]:PORT/ranged.ckpt',
    'http://[::ffff:7f00:1]:PORT/ranged.ckpt',
    'http://2130706433:PORT/ranged.ckpt',
    'http://0x7f.1:PORT/ranged.ckpt',
    'http://0177.0.0.1:PORT/ranged.ckpt',
    'http://0:PORT/ranged.ckpt',
    'http://169.254.169.254/latest/meta-data/',
  ])('%s is refused, and nobody is asked', async (url) => {
    const error = await errorOf(fenced.open(url.replace('PORT', new URL(proxy.url).port)));
    expect(error).toMatchObject({ code: 'CheckpointConfigError', details: { reason: 'outside_fence' } });
    expect(proxy.seen).toHaveLength(0);
  });

  test('also when it was pinned', async () => {
    const file = { uri: `${proxy.url}/ranged.ckpt`, size: 300_000, identity: 'etag="one"' };
    const source = await fenced.openPinned(file);
    expect(await errorOf(source.read(0, 10))).toMatchObject({ details: { reason: 'outside_fence' } });
    expect(proxy.seen).toHaveLength(0);
  });
});

test.each([
  ['http://user:hush@example.org/x.ckpt', /user name or password/],
  ['https://example.org/x.ckpt?X-Amz-Signature=hush', /is a credential/],
  ['https://example.org/x.ckpt?sig=hush', /is a credential/],
  ['https://example.org/x.ckpt?private_token=hush', /is a credential/],
  ['https://example.org/x.ckpt?Expires=1&OSSAccessKeyId=hush', /is a credential/],
  ['https://example.org/x.ckpt?x-goog-signature=hush', /is a credential/],
  ['http://', /not an http/],
  ['http://user:hush@ /', /not an http/],
])('%s is refused, and no secret repeated', async (url, message) => {
  const error = await errorOf(openHttp(place, url));
  expect(error.code).toBe('CheckpointConfigError');
  expect(error.message).toMatch(message);
  expect(error.message).not.toContain('hush');
});

describe('what a server says', () => {
  test('416 to the first question is not a change: nothing was pinned', async () => {
    proxy.inject(() => ({ kind: 'status', status: 416 }));
    const error = await errorOf(open('/ranged.ckpt'));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { status: 416 } });
    expect(error.message).not.toContain('changed');
    expect(error.message).toContain('failed with 416');
  });

  test('416 to a range of what was pinned is', async () => {
    const source = await open('/ranged.ckpt');
    proxy.inject(() => ({ kind: 'status', status: 416 }));
    const error = await errorOf(source.read(100_000, 10));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, details: { code: 'Changed', status: 416 } });
  });

  test.each([
    ['99999999999', 'It asks to wait 99999999999 s, more than the 3600 s that are waited at most.'],
    ['Fri, 31 Dec 9999 23:59:59 GMT', 'more than the 3600 s that are waited at most.'],
  ])('a server that wants nobody before %s is not asked again', async (after, message) => {
    proxy.inject(() => ({ kind: 'status', status: 503, headers: { 'retry-after': after } }));
    const error = await errorOf(open('/ranged.ckpt'));
    expect(error).toMatchObject({ code: 'CheckpointSourceError', retryable: false, retryAfterMs: undefined });
    expect(error.message).toContain(message);
    expect(proxy.seen).toHaveLength(1);
  });
});

describe('faults', () => {
  const mended: readonly (readonly [string, Fault])[] = [
    ['500', { kind: 'status', status: 500 }],
    ['503 with Retry-After', { kind: 'status', status: 503, headers: { 'retry-after': '1' } }],
    ['429', { kind: 'status', status: 429 }],
    ['408', { kind: 'status', status: 408 }],
    ['a reset before the headers', { kind: 'reset' }],
    ['a reset in the body', { kind: 'reset', after: 50_000 }],
    ['a stall before the headers', { kind: 'stall' }],
    ['a stall in the body', { kind: 'stall', after: 50_000 }],
    ['a body that ends early', { kind: 'truncate', after: 50_000 }],
    ['a body that goes on', { kind: 'lengthen', by: 10 }],
    ['a wrong Content-Range', { kind: 'headers', set: { 'content-range': 'bytes 0-99/300000' } }],
    ['200 for a range', { kind: 'headers', set: { 'content-range': null }, status: 200 }],
    ['a drip', { kind: 'drip', bytes: 10, everyMs: 20 }],
  ];
  test.each(mended)('%s once: the bytes are right', async (_, fault) => {
    place = { ...place, policy: policyFor(fault) };
    const source = await open('/ranged.ckpt');
    proxy.reset();
    proxy.inject((_, index) => (index === 0 ? fault : null));
    same(await source.read(70_000, 200_000), 70_000, 270_000);
    expect(proxy.seen).toHaveLength(2);
  });

  const lasting: readonly (readonly [string, Fault, Partial<CheckpointError>, number])[] = [
    ['404', { kind: 'status', status: 404 }, { code: 'CheckpointSourceError', retryable: false, details: { status: 404 } as never }, 1],
    ['403', { kind: 'status', status: 403 }, { code: 'CheckpointSourceError', retryable: false }, 1],
    ['500', { kind: 'status', status: 500 }, { code: 'CheckpointSourceError', retryable: true }, 3],
    [
      '429 for long',
      { kind: 'status', status: 429, headers: { 'retry-after': '60' } },
      { code: 'CheckpointSourceError', retryAfterMs: 60_000 },
      1,
    ],
    ['stalls', { kind: 'stall', after: 10 }, { code: 'CheckpointTimeoutError', retryable: true }, 3],
    ['resets', { kind: 'reset', after: 10 }, { code: 'CheckpointSourceError', retryable: true }, 3],
    ['another entity tag', { kind: 'headers', set: { etag: '"two"' } }, { code: 'CheckpointSourceError', retryable: false }, 1],
    [
      'packed bodies',
      { kind: 'headers', set: { 'content-encoding': 'gzip' } },
      { code: 'CheckpointSourceError', retryable: false, details: { code: 'ContentEncoding' } as never },
      1,
    ],
    ['503', { kind: 'status', status: 503 }, { code: 'CheckpointSourceError', retryable: true }, 3],
    ['101', SWITCHED, { code: 'CheckpointSourceError', retryable: false, details: { code: 'ProtocolSwitched' } as never }, 1],
    ['410', { kind: 'status', status: 410 }, { code: 'CheckpointSourceError', retryable: false }, 1],
    ['stalls before the headers', { kind: 'stall' }, { code: 'CheckpointTimeoutError', retryable: true }, 3],
    ['a drip', { kind: 'drip', bytes: 10, everyMs: 20 }, { code: 'CheckpointTimeoutError', retryable: true }, 3],
    ['short bodies', { kind: 'truncate', after: 10 }, { code: 'CheckpointSourceError', retryable: true }, 3],
    [
      'a wrong Content-Range',
      { kind: 'headers', set: { 'content-range': 'bytes 0-99/300000' } },
      { code: 'CheckpointSourceError', retryable: true, details: { code: 'WrongContentRange' } as never },
      3,
    ],
    [
      'several ranges in one answer',
      { kind: 'headers', set: { 'content-range': null, 'content-type': 'multipart/byteranges; boundary=b' } },
      { code: 'CheckpointSourceError', details: { code: 'WrongContentRange' } as never },
      3,
    ],
    [
      '200 for a range',
      { kind: 'headers', set: { 'content-range': null }, status: 200 },
      { code: 'CheckpointSourceError', details: { code: 'RangeIgnored' } as never },
      3,
    ],
    ['another weak entity tag', { kind: 'headers', set: { etag: 'W/"one"' }, status: 200 }, { code: 'CheckpointSourceError' }, 3],
  ];
  test.each(lasting)('%s always: a typed error, requests bounded', async (_, fault, expected, requests) => {
    place = { ...place, policy: policyFor(fault) };
    const source = await open('/ranged.ckpt');
    proxy.reset();
    proxy.inject(() => fault);
    expect(await errorOf(source.read(70_000, 200_000))).toMatchObject(expected);
    expect(proxy.seen).toHaveLength(requests);
    expect(await readdir(folder)).toEqual([]);
  });
});
