/** What a handshake tells of a server that Temporal's client did not reach. */
import { createServer, type AddressInfo, type Server } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { afterEach, expect, test } from '@jest/globals';
import { whyUnreachable } from '../../../src/app/temporal/handshake.ts';
import { SELF_SIGNED } from '../../support/self-signed.ts';

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

async function listening(server: Server): Promise<string> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const secure = (more: TlsOptions = {}): Promise<string> =>
  listening(createTlsServer({ ...SELF_SIGNED, ALPNProtocols: ['h2'], ...more }, (socket) => socket.on('error', () => undefined)));
const plain = (): Promise<string> =>
  listening(
    createServer((socket) =>
      socket
        .on('error', () => undefined)
        .resume()
        .end('HTTP/1.1 400\r\n\r\n'),
    ),
  );
const CA = { serverRootCACertificate: Buffer.from(SELF_SIGNED.cert) };

test('a certificate that nobody knows', async () => {
  expect(await whyUnreachable(await secure(), {})).toMatch(/self.signed certificate: name .* in TEMPORAL_TLS_SERVER_CA_CERT_PATH/);
  expect(await whyUnreachable(await secure(), CA)).toBeNull();
});

test('a certificate for another name', async () => {
  expect(await whyUnreachable(await secure(), { ...CA, serverNameOverride: 'elsewhere' })).toMatch(/altnames.*TEMPORAL_TLS_SERVER_NAME/);
});

test('a server that wants a certificate of the client', async () => {
  const address = await secure({ requestCert: true, rejectUnauthorized: true, ca: SELF_SIGNED.cert });
  expect(await whyUnreachable(address, CA)).toMatch(/it refuses us; check TEMPORAL_TLS_CLIENT_CERT_PATH/);
  const clientCertPair = { crt: Buffer.from(SELF_SIGNED.cert), key: Buffer.from(SELF_SIGNED.key) };
  expect(await whyUnreachable(address, { ...CA, clientCertPair })).toBeNull();
});

test('TLS on one side only', async () => {
  expect(await whyUnreachable(await plain(), {})).toContain('if it speaks no TLS, set TEMPORAL_TLS=false');
  expect(await whyUnreachable(await secure(), null)).toBe('it speaks TLS: set TEMPORAL_TLS=true');
  expect(await whyUnreachable(await plain(), null)).toBeNull();
});

test('nobody there', async () => {
  expect(await whyUnreachable('[::1]:1', null)).toMatch(/ECONNREFUSED|EADDRNOTAVAIL/);
  expect(await whyUnreachable('temporal.invalid', {})).toContain('ENOTFOUND temporal.invalid');
});
