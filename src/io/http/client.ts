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
import { networkFault, StoreFault, switchedFault } from '../store-fault.ts';
import { closedError } from '../wire/line.ts';
import { isPublicAddress } from './address.ts';

const REDIRECTS_MOST = 10;
const USER_AGENT = 'checkpoint-pipeline';

export interface HttpClient {
  /** The answer to a GET, after redirects; its body is not read yet. Rejects with a `StoreFault`. */
  get(url: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<IncomingMessage>;
  close(): void;
}

/** Node's own client, loaded where something is asked for: most commands ask no web server. */
async function openWire() {
  const [{ lookup }, http, https] = await Promise.all([import('node:dns'), import('node:http'), import('node:https')]);
  const agents = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) };
  return { lookup, agents, request: { http: http.request, https: https.request } };
}

export function createHttpClient({ allowPrivate }: { readonly allowPrivate: boolean }): HttpClient {
  let wire: ReturnType<typeof openWire> | undefined;

  async function once(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<IncomingMessage> {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    // An address in digits is never looked up.
    if (!allowPrivate && isIP(host) !== 0 && !isPublicAddress(host)) throw privateFault(host, host);
    const scheme = url.protocol === 'https:' ? 'https' : 'http';
    const { lookup, agents, request: send } = await (wire ??= openWire());
    const options = {
      agent: agents[scheme],
      signal,
      headers: { 'user-agent': USER_AGENT, 'accept-encoding': 'identity', accept: '*/*', ...headers },
      ...(allowPrivate ? {} : { lookup: publicLookup(lookup) }),
    };
    return new Promise((resolve, reject) => {
      const request = send[scheme](url, options, resolve);
      request.on('error', (error) => reject(error instanceof StoreFault ? error : (networkFault(error) ?? otherFault(error))));
      request.on('upgrade', (_, socket) => {
        socket.destroy();
        reject(switchedFault());
      });
      // Whatever else Node makes of an answer: who waits for one hears of its end.
      request.on('close', () => reject(networkFault(closedError())));
      request.end();
    });
  }

  return {
    async get(start, headers, signal) {
      let url = new URL(start);
      for (let followed = 0; ; followed++) {
        const answer = await once(url, headers, signal);
        const { location } = answer.headers;
        const status = answer.statusCode ?? 0;
        if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return answer;
        answer.destroy();
        if (followed === REDIRECTS_MOST)
          throw new StoreFault(`more than ${REDIRECTS_MOST} redirects`, { code: 'TooManyRedirects', status, retryable: false });
        url = redirected(url, location, status);
      }
    },
    close() {
      void wire?.then(({ agents }) => {
        agents.http.destroy();
        agents.https.destroy();
      });
    },
  };
}

/** Where a redirect leads, or a `StoreFault` where it may not be followed. */
export function redirected(from: URL, location: string, status: number): URL {
  const refuse = (why: string): StoreFault => new StoreFault(`a redirect ${why}`, { code: 'RedirectRefused', status, retryable: false });
  if (!URL.canParse(location, from.href)) throw refuse('leads to no URL');
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
    `${name === address ? name : `${name} is ${address}, which`} is no address of the public internet, and this worker asks no others. Set CKPT_ALLOW_PRIVATE_ADDRESSES=1 on the worker to allow them`,
    { code: 'PrivateAddress', retryable: false },
  );
}

/** What is no failure of the network: a certificate that does not hold, say. */
function otherFault(error: Error & { readonly code?: string }): Error {
  if (error.name === 'AbortError') return error;
  return new StoreFault(error.message, { code: error.code ?? error.name, retryable: false, cause: error });
}
