/**
 * GET over HTTP for URLs that somebody else may have written.
 *
 * Invariant: the address that is connected to is the address that was judged: names are resolved here, judged, and handed to the
 * socket, for the first request and after every redirect. Redirects are few, never lead from https to http, and never to
 * another scheme. No credential is sent or followed.
 */
import type { LookupAddress, LookupOptions } from 'node:dns';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { networkFault, StoreFault, switchedFault, tlsFault } from '../store-fault.ts';
import { closedError } from '../wire/line.ts';
import { streamBody, type RangeBody } from '../wire/range-body.ts';
import { isPublicAddress } from './address.ts';

const REDIRECTS_MOST = 10;
const USER_AGENT = 'checkpoint-pipeline';
/** Milliseconds to reach a server at all. */
const CONNECT_TIMEOUT = 10_000;
/** Ranges at a time. */
const LINES = 64;

type Headers = Readonly<Record<string, string>>;

export interface HttpClient {
  /** The answer to a GET, after redirects; its body is not read yet, and comes as fast as it is. Rejects with a `StoreFault`. */
  get(url: string, headers: Headers, signal: AbortSignal): Promise<IncomingMessage>;
  /** The same for what there is memory for: of `message` the head counts, and `body` goes from the socket to where it belongs. */
  getRange(url: string, headers: Headers, signal: AbortSignal): Promise<{ readonly message: IncomingMessage; readonly body: RangeBody }>;
  close(): void;
}

/** An answer; with a body of its own where that was taken from the connection. */
interface Answer {
  readonly message: IncomingMessage;
  readonly body: RangeBody | null;
}

/** Loaded where something is asked for: most commands ask no web server. */
async function connect(allowPrivate: boolean) {
  const [{ lookup }, http, https, { openWire }] = await Promise.all([
    import('node:dns'),
    import('node:http'),
    import('node:https'),
    import('../wire/pool.ts'),
  ]);
  const judged = allowPrivate ? {} : { lookup: publicLookup(lookup) };
  const agents = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) };
  return {
    judged,
    agents,
    request: { http: http.request, https: https.request },
    wire: openWire({ timeoutMs: CONNECT_TIMEOUT, most: LINES, ...judged }),
  };
}

export function createHttpClient({ allowPrivate }: { readonly allowPrivate: boolean }): HttpClient {
  let connected: ReturnType<typeof connect> | undefined;
  const connection = () => (connected ??= connect(allowPrivate));

  async function stream(url: URL, headers: Headers, signal: AbortSignal): Promise<Answer> {
    const scheme = url.protocol === 'https:' ? 'https' : 'http';
    const { judged, agents, request: send } = await connection();
    const message = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = send[scheme](url, { agent: agents[scheme], signal, headers, ...judged }, resolve);
      request.on('error', (error) => reject(faultOf(error)));
      request.on('upgrade', (_, socket) => {
        socket.destroy();
        reject(switchedFault());
      });
      // Whatever else Node makes of an answer: who waits for one hears of its end.
      request.on('close', () => reject(networkFault(closedError())));
      request.end();
    });
    return { message, body: null };
  }

  async function direct(url: URL, headers: Headers, signal: AbortSignal): Promise<Answer> {
    const secure = url.protocol === 'https:';
    const address = { secure, host: hostOf(url), port: Number(url.port) || (secure ? 443 : 80) };
    const request = { host: url.hostname, path: `${url.pathname}${url.search}`, headers: { host: url.host, ...headers } };
    const { wire } = await connection();
    return wire.get(address, request, signal).catch((error: Error) => {
      signal.throwIfAborted();
      throw faultOf(error);
    });
  }

  /** After redirects. */
  async function follow(ask: typeof direct, start: string, more: Headers, signal: AbortSignal): Promise<Answer> {
    const headers = { 'user-agent': USER_AGENT, 'accept-encoding': 'identity', accept: '*/*', ...more };
    let url = new URL(start);
    for (let followed = 0; ; followed++) {
      const host = hostOf(url);
      // An address in digits is never looked up.
      if (!allowPrivate && isIP(host) !== 0 && !isPublicAddress(host)) throw privateFault(host, host);
      const answer = await ask(url, headers, signal);
      const { location } = answer.message.headers;
      const status = answer.message.statusCode ?? 0;
      if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return answer;
      answer.message.destroy();
      if (followed === REDIRECTS_MOST)
        throw new StoreFault(`more than ${REDIRECTS_MOST} redirects`, { code: 'TooManyRedirects', status, retryable: false });
      url = redirected(url, location, status);
    }
  }

  return {
    async get(url, headers, signal) {
      return (await follow(stream, url, headers, signal)).message;
    },
    async getRange(url, headers, signal) {
      const { message, body } = await follow(direct, url, headers, signal);
      return { message, body: body ?? streamBody(message) };
    },
    close() {
      void connected?.then(({ agents, wire }) => {
        agents.http.destroy();
        agents.https.destroy();
        wire.close();
      });
    },
  };
}

/** Without the brackets of an IPv6 address. */
function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '');
}

/** Where a redirect leads, or a `StoreFault` where it may not be followed. */
export function redirected(from: URL, location: string, status: number): URL {
  const refuse = (why: string): StoreFault => new StoreFault(`a redirect ${why}`, { code: 'RedirectRefused', status, retryable: false });
  if (!URL.canParse(location, from.href)) throw refuse('leads to what is not a URL');
  const to = new URL(location, from);
  if (!/^https?:$/.test(to.protocol)) throw refuse(`leads to the scheme ${to.protocol}`);
  if (from.protocol === 'https:' && to.protocol === 'http:') throw refuse(`leads from https to http, to ${to.host}`);
  if (to.username !== '' || to.password !== '') throw refuse(`to ${to.host} holds a user name or password`);
  return to;
}

type LookupCallback = (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void;

type Resolve = (
  name: string,
  options: LookupOptions & { readonly all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** The socket's own look-up, with every address judged; one that is not public refuses the name. What was judged is what is connected to. */
export function publicLookup(resolve: Resolve): (name: string, options: LookupOptions, callback: LookupCallback) => void {
  return (name, options, callback) =>
    resolve(name, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, []);
      const hidden = addresses.find(({ address }) => !isPublicAddress(address));
      const [first] = addresses;
      if (hidden !== undefined || first === undefined) return callback(privateFault(name, hidden?.address ?? 'unknown'), []);
      if (options.all === true) return callback(null, addresses);
      callback(null, first.address, first.family);
    });
}

function privateFault(name: string, address: string): StoreFault {
  return new StoreFault(
    `${name === address ? name : `${name} is ${address}, which`} is not an address of the public internet, and this worker asks no others. Set CKPT_ALLOW_PRIVATE_ADDRESSES=1 on the worker to allow them`,
    { code: 'PrivateAddress', retryable: false },
  );
}

function faultOf(error: Error & { readonly code?: string }): Error {
  if (error instanceof StoreFault || error.name === 'AbortError') return error;
  return (
    networkFault(error) ??
    tlsFault(error) ??
    new StoreFault(error.message, { code: error.code ?? error.name, retryable: false, cause: error })
  );
}
