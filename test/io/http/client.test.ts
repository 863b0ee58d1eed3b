import type { LookupAddress } from 'node:dns';
import { createServer, type AddressInfo } from 'node:net';
import { expect, test } from '@jest/globals';
import { createHttpClient, publicLookup, redirected } from '../../../src/io/http/client.ts';

test.each([
  ['https://a/x', 'https://b/y?z', 'https://b/y?z'],
  ['http://a/x', 'https://b/y', 'https://b/y'],
  ['https://a/x/y', '../z', 'https://a/z'],
])('%s may lead to %s', (from, location, to) => expect(redirected(new URL(from), location, 302).href).toBe(to));

test.each([
  ['https://a/x', 'http://a/x', /from https to http/],
  ['https://a/x', 'file:///etc/passwd', /scheme file:/],
  ['https://a/x', 'http://[', /not a URL/],
  ['http://a/x', 'http://user@b/', /user name or password/],
])('%s may not lead to %s', (from, location, why) => expect(() => redirected(new URL(from), location, 302)).toThrow(why));

test('a name that leads elsewhere the second time: what the socket gets is what was judged, at every connection', async () => {
  const answers: LookupAddress[][] = [[{ address: '93.184.216.34', family: 4 }], [{ address: '169.254.169.254', family: 4 }]];
  let asked = 0;
  const lookup = publicLookup((_name, _options, callback) => callback(null, answers[asked++]!));
  const connect = (all: boolean) =>
    new Promise((resolve) => lookup('rebinds.example', { all }, (error, address) => resolve(error === null ? address : error)));
  expect(await connect(false)).toBe('93.184.216.34');
  expect(await connect(true)).toMatchObject({
    code: 'PrivateAddress',
    message: expect.stringContaining('rebinds.example is 169.254.169.254'),
  });
  expect(asked).toBe(2);
});

test('one private address among public ones refuses the name', async () => {
  const mixed: LookupAddress[] = [
    { address: '93.184.216.34', family: 4 },
    { address: '::ffff:10.0.0.1', family: 6 },
  ];
  const lookup = publicLookup((_name, _options, callback) => callback(null, mixed));
  const error = await new Promise((resolve) => lookup('mixed.example', { all: true }, (thrown) => resolve(thrown)));
  expect(error).toMatchObject({ code: 'PrivateAddress' });
});

test.each(['get', 'getRange'] as const)('a head that is too long is a fault that no other try mends: %s', async (how) => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.write(`HTTP/1.1 206 Partial Content\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = createHttpClient({ allowPrivate: true });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  await expect(client[how](url, {}, new AbortController().signal)).rejects.toMatchObject({ code: 'HPE_HEADER_OVERFLOW', retryable: false });
  client.close();
  await new Promise((resolve) => server.close(resolve));
});
