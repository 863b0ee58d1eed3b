/** Between the SDK, which signs a request and understands the answer's head and errors, and the wire, which brings the body. */
import { Readable } from 'node:stream';
import type { GetObjectCommand } from '@aws-sdk/client-s3';
import type { WireRequest } from '../../wire/exchange.ts';
import type { Address } from '../../wire/line.ts';
import type { Wire } from '../../wire/pool.ts';
import type { RangeBody } from '../../wire/range-body.ts';

/** What of the SDK's signed requests is needed to send them. */
interface SignedRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[] | null>>;
  readonly headers: Readonly<Record<string, string>>;
}

/** Lets the command go over the wire; gives what tells its body once it was answered: null where that is the SDK's. */
export function takeBody(command: GetObjectCommand, wire: Wire, signal: AbortSignal): () => RangeBody | null {
  let body: RangeBody | null = null;
  // The innermost step: in place of the SDK's own exchange, which would put the bytes through streams.
  command.middlewareStack.add(
    () => async (args) => {
      // Of the SDK's requests over HTTP every one is so.
      const request = args.request as SignedRequest;
      const answer = await wire.get(addressOf(request), wireRequestOf(request), signal);
      body = answer.body;
      const { statusCode, headers } = answer.message;
      return { response: { statusCode, headers, body: body === null ? answer.message : Readable.from([]) } };
    },
    { step: 'deserialize', priority: 'low' },
  );
  return () => body;
}

function addressOf({ protocol, hostname, port }: SignedRequest): Address {
  const secure = protocol === 'https:';
  return { secure, host: hostname.replace(/^\[|\]$/g, ''), port: port ?? (secure ? 443 : 80) };
}

function wireRequestOf({ hostname, path, query = {}, headers }: SignedRequest): WireRequest {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value ?? ''].flat().map((each) => `${encodeURIComponent(name)}=${encodeURIComponent(each)}`),
  );
  return { host: hostname, path: pairs.length === 0 ? path : `${path}?${pairs.join('&')}`, headers };
}
