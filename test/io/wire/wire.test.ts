import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, expect, test } from '@jest/globals';
import { openWire, type Wire, type WireOptions } from '../../../src/io/wire/pool.ts';
import { scatter } from '../../../src/io/wire/scatter.ts';
import { noise } from '../../support/memory-source.ts';
import { SELF_SIGNED } from '../../support/self-signed.ts';

const MIB = 2 ** 20;
const REQUEST = { host: 'store', path: '/key?x=1', headers: { host: 'store', range: 'bytes=0-9' } };
const never = new AbortController().signal;

let server: Server | undefined;
let wire: Wire | undefined;
let connections: Socket[] = [];

afterEach(async () => {
  wire?.close();
  for (const socket of connections) socket.destroy();
  connections = [];
  await new Promise((resolve) => (server === undefined ? resolve(null) : server.close(resolve)));
  server = undefined;
});

type Answer = (socket: Socket, request: string, index: number) => void;

/** A server that gives each request, as it came, to `answer`; the wire to it, and what asks it. */
async function serve(answer: Answer, { secure = false, ...more }: Partial<WireOptions> & { readonly secure?: boolean } = {}) {
  let index = 0;
  const onConnection = (socket: Socket): void => {
    connections.push(socket);
    socket.on('error', () => undefined);
    let held = '';
    socket.on('data', (chunk: Buffer) => {
      held += chunk.toString('latin1');
      for (let end = held.indexOf('\r\n\r\n'); end >= 0; end = held.indexOf('\r\n\r\n')) {
        const request = held.slice(0, end);
        held = held.slice(end + 4);
        answer(socket, request, index++);
      }
    });
  };
  server = secure ? createTlsServer(SELF_SIGNED, onConnection) : createServer(onConnection);
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  wire = openWire({ timeoutMs: 5000, most: 4, ca: SELF_SIGNED.cert, ...more });
  const address = { secure, host: more.lookup === undefined ? '127.0.0.1' : 'store.test', port };
  return (signal = never) => wire!.get(address, REQUEST, signal);
}

function head(length: number, more = ''): string {
  return `HTTP/1.1 206 Partial Content\r\nContent-Length: ${length}\r\nETag: "e"\r\n${more}\r\n`;
}

/** The body of one answer, and in how many pieces it came. */
async function taken(get: Awaited<ReturnType<typeof serve>>, length: number): Promise<{ bytes: Uint8Array; pieces: number }> {
  // In the middle of shared memory, as blocks are.
  const memory = new Uint8Array(new SharedArrayBuffer(length + 20)).fill(7);
  const { body } = await get();
  let pieces = 0;
  let came = 0;
  await body!.into(scatter([memory.subarray(10, 10 + length)]), (count) => {
    came += count;
    pieces++;
  });
  expect(came).toBe(length);
  expect([...memory.subarray(0, 10), ...memory.subarray(10 + length)]).toEqual(Array.from({ length: 20 }, () => 7));
  return { bytes: memory.slice(10, 10 + length), pieces };
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

async function errorOf(work: Promise<unknown>): Promise<Error & { readonly code?: string }> {
  return work.then(
    () => {
      throw new Error('it should have failed');
    },
    (error: Error) => error,
  );
}

test.each([false, true])('bodies come whole into their memory, one after the other on one line (TLS: %s)', async (secure) => {
  const contents = [noise(5 * MIB), noise(3), noise(300_000)];
  const requests: string[] = [];
  const get = await serve(
    (socket, request, index) => {
      requests.push(request);
      socket.write(head(contents[index]!.length));
      socket.write(contents[index]!);
    },
    { secure },
  );
  for (const content of contents) expect(isSame((await taken(get, content.length)).bytes, content)).toBe(true);
  expect(connections).toHaveLength(1);
  expect(requests[0]).toMatch(/^GET \/key\?x=1 HTTP\/1\.1\r\nhost: store\r\nrange: bytes=0-9\r\nconnection: keep-alive$/);
});

test.each([false, true])('a head in pieces, with the body in the last of them (TLS: %s)', async (secure) => {
  const content = noise(40_000);
  const get = await serve(
    (socket) => {
      const all = Buffer.concat([Buffer.from(head(content.length)), content]);
      let at = 0;
      const next = (): void => {
        const size = at < 60 ? 7 : all.length;
        socket.write(all.subarray(at, (at += size)));
        if (at < all.length) setTimeout(next, 2);
      };
      next();
    },
    { secure },
  );
  for (let turn = 0; turn < 2; turn++) expect(isSame((await taken(get, content.length)).bytes, content)).toBe(true);
});

test('the head is there before the body; what waits is not lost', async () => {
  const content = noise(100_000);
  const get = await serve((socket) => void socket.write(Buffer.concat([Buffer.from(head(content.length)), content])));
  const { message, body } = await get();
  expect([message.statusCode, message.headers.etag]).toEqual([206, '"e"']);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const target = new Uint8Array(content.length);
  await body!.into(scatter([target]), () => undefined);
  expect(isSame(target, content)).toBe(true);
});

test('a body fills pieces of every length, wherever it is cut', async () => {
  const content = noise(300_000);
  const get = await serve((socket) => {
    socket.write(Buffer.concat([Buffer.from(head(content.length)), content.subarray(0, 70_001)]));
    setTimeout(() => socket.write(content.subarray(70_001)), 20);
  });
  const lengths = [100_000, 0, 1, 40, 65_000, 17_000, 50, 17_909, 100_000];
  const memory = new Uint8Array(new SharedArrayBuffer(content.length + lengths.length));
  let from = 0;
  const pieces = lengths.map((length, index) => memory.subarray(from + index, (from += length) + index));
  const { body } = await get();
  let came = 0;
  await body!.into(scatter(pieces), (count) => (came += count));
  expect(came).toBe(content.length);
  expect(isSame(Buffer.concat(pieces), content)).toBe(true);
  // Nothing was written between them.
  expect(lengths.map((_, index) => memory[pieces[index]!.byteOffset + pieces[index]!.length])).toEqual(lengths.map(() => 0));
});

test.each([
  ['an error', 'HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone', 404, 'none'],
  ['chunks', 'HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n', 206, 'abcde'],
  ['a head before the head', `HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n${head(3)}abc`, 206, 'abc'],
])('%s is left to Node, and the line is used again', async (_, answer, status, content) => {
  const get = await serve((socket) => void socket.write(answer));
  for (let turn = 0; turn < 2; turn++) {
    const { message, body } = await get();
    expect([message.statusCode, body, await text(message)]).toEqual([status, null, content]);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(connections).toHaveLength(1);
});

test('a head without end is a fault as soon as it is too long, and the next answer comes over a new line', async () => {
  const get = await serve((socket, _, index) => {
    socket.write(index === 0 ? `HTTP/1.1 206 Partial Content\r\nX: ${'a'.repeat(20_000)}` : `${head(2)}ok`);
  });
  expect(await errorOf(get())).toMatchObject({ code: 'HPE_HEADER_OVERFLOW', retryable: false });
  await taken(get, 2);
  expect(connections).toHaveLength(2);
});

test('an answer that turns the connection to another protocol is a fault, and the next gets a new line', async () => {
  const get = await serve((socket, _, index) => {
    socket.write(index === 0 ? 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n' : `${head(3)}abc`);
  });
  expect(await errorOf(get())).toMatchObject({ code: 'ProtocolSwitched', status: 101, retryable: false });
  expect(Buffer.from((await taken(get, 3)).bytes).toString()).toBe('abc');
  expect(connections).toHaveLength(2);
});

test('a body that ends with the connection, and a server that wants it closed: a new line for the next', async () => {
  const get = await serve((socket, _, index) => {
    if (index === 0) socket.end('HTTP/1.1 200 OK\r\n\r\nabc');
    else socket.write(`${head(3, 'Connection: close\r\n')}abc`);
  });
  expect(await text((await get()).message)).toBe('abc');
  for (let turn = 0; turn < 2; turn++) expect(Buffer.from((await taken(get, 3)).bytes).toString()).toBe('abc');
  expect(connections).toHaveLength(3);
});

test('a line that the server closed while it was idle costs nothing', async () => {
  const get = await serve((socket) => void socket.write(`${head(3)}abc`));
  await taken(get, 3);
  connections[0]!.destroy();
  await taken(get, 3);
  expect(connections).toHaveLength(2);
});

test('one that it closes as the next request comes is asked for again, a new one is not', async () => {
  const get = await serve((socket, _, index) => {
    if (index === 0 || index === 2) socket.write(`${head(3)}abc`);
    else socket.destroy();
  });
  await taken(get, 3);
  await taken(get, 3);
  expect(connections).toHaveLength(2);
  connections[1]!.destroy();
  expect(await errorOf(get())).toMatchObject({ code: 'ECONNRESET' });
});

test('a body that breaks off, that is longer than its memory, or that goes on behind its length', async () => {
  const get = await serve((socket, _, index) => {
    if (index === 0) socket.write(`${head(10)}abc`, () => socket.resetAndDestroy());
    else if (index === 1) socket.write(`${head(10)}abcdefghij`);
    else socket.write(`${head(3)}abcdef`);
  });
  const into = async (size: number): Promise<void> => (await get()).body!.into(scatter([new Uint8Array(size)]), () => undefined);
  expect(await errorOf(into(10))).toMatchObject({ code: 'ECONNRESET' });
  expect(await errorOf(into(5))).toMatchObject({ code: 'BodyTooLong' });
  expect(await errorOf(into(5))).toMatchObject({ code: 'BodyTooLong' });
});

test('who no longer wants a body gets no byte more, and the server hears of it', async () => {
  const get = await serve((socket) => {
    socket.write(head(64 * MIB));
    socket.write(noise(MIB));
  });
  const target = new Uint8Array(64 * MIB);
  const { body } = await get();
  let came = 0;
  const filling = errorOf(
    body!.into(scatter([target]), (count) => {
      came += count;
      if (came > 100_000) body!.destroy();
    }),
  );
  await filling;
  const ended = new Promise((resolve) => connections[0]!.once('close', resolve));
  connections[0]!.write(noise(MIB).fill(9));
  await ended;
  expect(target.subarray(came).every((byte) => byte === 0)).toBe(true);
});

test('bytes that nobody asked for end an idle line', async () => {
  const get = await serve((socket, _, index) => void socket.write(`${head(3)}${index === 0 ? 'abc' : 'xyz'}`));
  await taken(get, 3);
  const ended = new Promise((resolve) => connections[0]!.once('close', resolve));
  connections[0]!.write(`${head(3)}lie`);
  await ended;
  expect(Buffer.from((await taken(get, 3)).bytes).toString()).toBe('xyz');
});

test('so many at a time: the next waits, and gives up its place when it is cancelled', async () => {
  const get = await serve((socket) => void socket.write(`${head(3)}abc`), { most: 1 });
  const first = await get();
  const cancelled = new AbortController();
  const second = errorOf(get(cancelled.signal));
  const third = taken(get, 3);
  cancelled.abort(new Error('cancelled'));
  expect((await second).message).toBe('cancelled');
  expect(connections).toHaveLength(1);
  await first.body!.into(scatter([new Uint8Array(3)]), () => undefined);
  await third;
  expect(connections).toHaveLength(1);
});

test('cancellation ends what waits for a head, and for a body', async () => {
  const get = await serve((socket, _, index) => void (index === 1 && socket.write(`${head(10)}abc`)));
  const before = new AbortController();
  const heading = errorOf(get(before.signal));
  setTimeout(() => before.abort(new Error('enough')), 20);
  expect((await heading).message).toBe('enough');
  const within = new AbortController();
  const { body } = await get(within.signal);
  const filling = errorOf(body!.into(scatter([new Uint8Array(10)]), () => within.abort(new Error('enough now'))));
  expect((await filling).message).toBe('enough now');
});

test('a server that cannot be reached in time, and certificates that nobody knows', async () => {
  const late = await serve(() => undefined, { timeoutMs: 30, lookup: () => undefined });
  expect(await errorOf(late())).toMatchObject({ code: 'ConnectTimeout', retryable: true });
  wire!.close();
  await new Promise((resolve) => server!.close(resolve));
  const unknown = await serve(() => undefined, { secure: true, ca: undefined });
  expect((await errorOf(unknown())).code).toMatch(/SELF_SIGNED/);
});
