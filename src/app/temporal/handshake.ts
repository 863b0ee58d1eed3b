/**
 * Why a Temporal server cannot be reached, as far as a handshake of our own tells: of whatever goes wrong below gRPC, Temporal's client says
 * that its time was over, and no more.
 */
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { textOf } from '../../errors.ts';
import { isUntrusted, oneLine } from '../../io/store-fault.ts';

/** Milliseconds for each of two handshakes. */
const LIMIT = 3000;
/** Milliseconds after a handshake within which a server tells that it wants another certificate. */
const REFUSAL = 500;
const DEFAULT_PORT = 7233;

export interface ClientTls {
  readonly serverNameOverride?: string | undefined;
  readonly serverRootCACertificate?: Uint8Array | undefined;
  readonly clientCertPair?: { readonly crt: Uint8Array; readonly key: Uint8Array } | undefined;
}

/** In words for the end of a sentence; null where the handshake shows nothing. `tls`: null for none. */
export async function whyUnreachable(address: string, tls: ClientTls | null): Promise<string | null> {
  const place = placeOf(address);
  if (tls === null) {
    const failure = await failureOf(() => connect(place), 'connect');
    if (failure !== null) return saidOf(failure);
    const secure = await failureOf(() => connectTls({ ...place, ...nameOf(place.host), rejectUnauthorized: false }), 'secureConnect');
    return secure === null ? 'it speaks TLS: set TEMPORAL_TLS=true' : null;
  }
  const options: ConnectionOptions = {
    ...place,
    ...(tls.serverNameOverride === undefined ? nameOf(place.host) : { servername: tls.serverNameOverride }),
    ...(tls.serverRootCACertificate === undefined ? {} : { ca: Buffer.from(tls.serverRootCACertificate) }),
    ...(tls.clientCertPair === undefined ? {} : { cert: Buffer.from(tls.clientCertPair.crt), key: Buffer.from(tls.clientCertPair.key) }),
    ALPNProtocols: ['h2'],
  };
  const failure = await failureOf(() => connectTls(options), 'secureConnect');
  return failure === null ? null : `${saidOf(failure)}${adviceOf(failure)}`;
}

/** As of gRPC: a name or address with a port or without one. */
function placeOf(address: string): { readonly host: string; readonly port: number } {
  const [, host = address, port] = /^(?:dns:\/*)?\[?(.*?)\]?(?::(\d+))?$/.exec(address) ?? [];
  return { host, port: port === undefined ? DEFAULT_PORT : Number(port) };
}

/** Addresses in digits are no names. */
function nameOf(host: string): { readonly servername?: string } {
  return isIP(host) === 0 ? { servername: host } : {};
}

/** What ends the handshake, or what comes right after it; null where nothing does. */
function failureOf(begin: () => Socket, done: 'connect' | 'secureConnect'): Promise<NodeJS.ErrnoException | null> {
  return new Promise((resolve) => {
    let socket: Socket;
    try {
      socket = begin();
    } catch (error) {
      // Of certificates that cannot be used, OpenSSL throws at once.
      return resolve(error as NodeJS.ErrnoException);
    }
    const end = (error: NodeJS.ErrnoException | null): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(error);
    };
    const timer = setTimeout(() => end(new Error(`no handshake within ${LIMIT / 1000} s`)), LIMIT);
    socket.on('error', end);
    // By TLS 1.3, what the server makes of our certificate comes after the handshake.
    socket.once(done, () => (done === 'connect' ? end(null) : setTimeout(() => end(null), REFUSAL)));
    socket.once('close', () => end(Object.assign(new Error('it ends the connection'), { code: 'ECONNRESET' })));
  });
}

function saidOf(failure: Error): string {
  return oneLine(textOf(failure));
}

function adviceOf({ code = '' }: NodeJS.ErrnoException): string {
  if (isUntrusted(code)) return ': name the authority of its certificate in TEMPORAL_TLS_SERVER_CA_CERT_PATH';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return ': say by which name its certificate knows it in TEMPORAL_TLS_SERVER_NAME';
  if (/^ERR_SSL_.*ALERT/.test(code)) return ': it refuses us; check TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH';
  if (/^(ERR_SSL_|EPROTO$)/.test(code) || code === 'ECONNRESET') return ': if it speaks no TLS, set TEMPORAL_TLS=false';
  return '';
}
