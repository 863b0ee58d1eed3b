/**
 * A whole file from a server without ranges, once, into the cache: written as it comes, never held in memory.
 *
 * A transfer that breaks off begins anew, unless the server does give the rest of the same version when asked for it.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { keepsProgress } from '../attempt-end.ts';
import { watched, type Watch } from '../range-read.ts';
import { retrying } from '../retry.ts';
import { StoreFault } from '../store-fault.ts';
import { checkSize, ifRange, isPlain, packedFault, statusFault, validatorOf } from './answer.ts';
import type { HttpPlace } from './source.ts';
import type { Spooled } from './spool-cache.ts';

/** Bytes by which room is made for a transfer of unknown length. */
const ROOM_STEP = 64 * 2 ** 20;

type SpoolRoom = (size: number, wanted?: number) => Promise<number>;

interface Transfer {
  readonly path: string;
  readonly file: FileHandle;
  hash: Hash;
  done: number;
  validator: string | null;
  /** The server was asked for the rest of this version, and sent all of it. */
  rangeless: boolean;
}

/** Begins the keys of all versions of a file, of as many digits as their own part. */
export function fileKey(uri: string): string {
  return digestOf(uri);
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

export async function spool({ client, cache, policy, most = Infinity }: HttpPlace, uri: string, signal?: AbortSignal): Promise<Spooled> {
  let transfer: Transfer | undefined;

  async function attempt(watch: Watch): Promise<void> {
    const known = transfer;
    const resumes = known !== undefined && known.done > 0 && known.validator !== null && !known.rangeless;
    const headers: Record<string, string> = resumes ? { range: `bytes=${known.done}-`, 'if-range': ifRange(known.validator!) } : {};
    const answer = await client.get(uri, headers, watch.signal);
    const cut = (): unknown => answer.destroy();
    watch.signal.addEventListener('abort', cut, { once: true });
    try {
      watch.signal.throwIfAborted();
      if (resumes && answer.statusCode === 416) {
        known.validator = null;
        throw new StoreFault('the server no longer offers the rest of this version; the download starts over', {
          code: 'WrongContentRange',
          status: 416,
          retryable: true,
        });
      }
      if (answer.statusCode !== 200 && answer.statusCode !== 206) throw statusFault(answer);
      if (!isPlain(answer)) throw packedFault(answer);
      transfer = await placeFor(answer, known, resumes);
      // An interrupted transfer left a part: the rest is asked for instead.
      if (known === undefined && transfer.done > 0) {
        cut();
        return await attempt(watch);
      }
      const expected = lengthOf(answer);
      const end = expected === null ? null : transfer.done + expected;
      const { path } = transfer;
      const makeRoom: SpoolRoom = async (size, wanted) => {
        checkSize(size, most);
        return cache.makeRoom(path, size, wanted === undefined ? size : Math.min(wanted, most));
      };
      await receive(answer, transfer, watch, makeRoom, await makeRoom(end ?? transfer.done));
      if (end !== null && transfer.done !== end)
        throw new StoreFault(`the body ended at ${transfer.done} of ${end} bytes`, { code: 'BodyTooShort', retryable: true });
    } finally {
      cut();
    }
  }

  /** Where the bytes of this answer go: behind those of the same version, else to the start of an empty file. */
  async function placeFor(answer: IncomingMessage, known: Transfer | undefined, resumed: boolean): Promise<Transfer> {
    const validator = validatorOf(answer);
    const from = /^bytes (\d+)-/.exec(answer.headers['content-range'] ?? '')?.[1];
    if (
      known !== undefined &&
      answer.statusCode === 206 &&
      Number(from) === known.done &&
      (validator === null ? known.validator?.startsWith('modified=') === true : validator === known.validator)
    )
      return known;
    // Nothing says any more that the rest is of the version that was begun: the next try begins anew.
    if (known !== undefined && validator === null) known.validator = null;
    if (answer.statusCode === 206)
      throw new StoreFault(
        `the server answered with a range (Content-Range: ${answer.headers['content-range'] ?? 'none'}) where none was requested`,
        {
          code: 'WrongContentRange',
          status: 206,
          retryable: true,
        },
      );
    if (known !== undefined) {
      known.rangeless = validator === known.validator && (resumed || known.rangeless);
      await known.file.truncate(0);
      known.hash = createHash('sha256');
      known.done = 0;
      known.validator = validator;
      return known;
    }
    const { path, taken } = await cache.begin(`${fileKey(uri)}${digestOf(validator ?? '')}`);
    try {
      const rangeless = false;
      // An entity tag alone proves that what was left is of the same bytes.
      if (taken && validator?.startsWith('etag=') === true) return { path, validator, rangeless, ...(await takeUp(path, signal)) };
      return { path, validator, rangeless, file: await open(path, 'w'), hash: createHash('sha256'), done: 0 };
    } catch (error) {
      await cache.handOn(path);
      throw error;
    }
  }

  try {
    await retrying(policy, signal, () =>
      watched(policy.stallMs, signal, async (watch) => {
        await attempt(watch);
      }),
    );
    const { path, file, hash } = transfer!;
    await file.sync();
    await file.close();
    const kept = await cache.keep(path, hash.digest('hex'));
    // What others have left of it is of other versions, or of use no more.
    await cache.forget(fileKey(uri)).catch(() => undefined);
    return kept;
  } catch (error) {
    if (transfer !== undefined) {
      const { path, file, validator, done, rangeless } = transfer;
      await file.close().catch(() => undefined);
      // What an entity tag names can be gone on with by the next attempt, if there is one and the server may give it the rest.
      const isNamed = validator?.startsWith('etag=') === true && done > 0 && !rangeless;
      const isFinal = error instanceof StoreFault && !error.retryable;
      if (isNamed && !isFinal && keepsProgress(signal, error)) await cache.handOn(path);
      else await cache.drop(path);
    }
    throw error;
  }
}

/** What an interrupted transfer left, digested again. */
async function takeUp(path: string, signal: AbortSignal | undefined): Promise<Pick<Transfer, 'file' | 'hash' | 'done'>> {
  const hash = createHash('sha256');
  let done = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Uint8Array>) {
    signal?.throwIfAborted();
    hash.update(chunk);
    done += chunk.length;
  }
  return { file: await open(path, 'r+'), hash, done };
}

async function receive(answer: IncomingMessage, transfer: Transfer, watch: Watch, makeRoom: SpoolRoom, room: number): Promise<void> {
  for await (const chunk of answer as AsyncIterable<Uint8Array>) {
    // A server that does not say how much will come is given room as it goes on.
    const needed = transfer.done + chunk.length;
    if (needed > room) room = await makeRoom(needed, needed + ROOM_STEP);
    for (let written = 0; written < chunk.length;) {
      const { bytesWritten } = await transfer.file
        .write(chunk, written, chunk.length - written, transfer.done + written)
        .catch((cause: Error) => {
          throw new StoreFault(`the cache cannot be written: ${cause.message}`, { code: 'CacheWrite', retryable: false, cause });
        });
      written += bytesWritten;
    }
    transfer.hash.update(chunk);
    transfer.done += chunk.length;
    watch.progress(chunk.length);
  }
}

function lengthOf({ headers }: IncomingMessage): number | null {
  const text = headers['content-length'];
  return text === undefined || !/^\d+$/.test(text) ? null : Number(text);
}
