/**
 * SHA-256 of the byte strings that a sequence of blocks holds, end to end: one string may span many blocks, one block may hold many strings.
 *
 * Runs in the caller's thread or, where there is much to do, in one of its own over shared memory: at some 1.4 GB/s for a core,
 * digests would otherwise be what a copy waits for.
 */
import { createHash, hash, type Hash } from 'node:crypto';
import { Worker } from 'node:worker_threads';

export interface DigestRequest {
  /** Which of the blocks of memory. */
  readonly slot: number;
  /** Start and end offsets in the block of each string, alternating; the first may continue one that the block before left open. */
  readonly bounds: Uint32Array<ArrayBuffer>;
  /** The last of them goes on in the next block. */
  readonly open: boolean;
  /** Asks for the digest of the unfinished string so far. */
  readonly snapshot: boolean;
}

/** What the thread is sent. */
export interface ThreadRequest {
  /** Which of the digesters that share it. */
  readonly sequence: number;
  readonly request: DigestRequest;
}

export interface DigestAnswer {
  /** SHA-256 of the strings that ended in this block, in hexadecimal, one right behind the other: there may be very many. */
  readonly ended: string;
  readonly snapshot: string | null;
}

export interface Digester {
  /** Requests are served in order, and are the digester's own; the memory may be reused when the promise resolves. */
  update(request: DigestRequest): Promise<DigestAnswer>;
  close(): Promise<void>;
}

/** A thread makes little that lives; room for new objects would grow to 32 MiB, each page of it taken into use. */
const THREAD_LIMITS = { maxYoungGenerationSizeMb: 3 };

/** Characters of one of the digests in `DigestAnswer.ended`. */
export const DIGEST_LENGTH = 64;

/** The state of one sequence of requests. */
export function digestSequence(memory: readonly Uint8Array[]): (request: DigestRequest) => DigestAnswer {
  let running: Hash | undefined;
  return ({ slot, bounds, open, snapshot }) => {
    let ended = '';
    for (let at = 0; at < bounds.length; at += 2) {
      const bytes = memory[slot]!.subarray(bounds[at], bounds[at + 1]);
      const ends = !open || at + 2 < bounds.length;
      if (running === undefined && ends) {
        ended += hash('sha256', bytes);
        continue;
      }
      running ??= createHash('sha256');
      running.update(bytes);
      if (ends) {
        ended += running.digest('hex');
        running = undefined;
      }
    }
    return { ended, snapshot: snapshot && running !== undefined ? running.copy().digest('hex') : null };
  };
}

export function inlineDigester(memory: readonly Uint8Array[]): Digester {
  const step = digestSequence(memory);
  return { update: async (request) => step(request), close: async () => undefined };
}

/** `memory` must lie in shared buffers. */
export function threadDigester(memory: readonly Uint8Array[]): Digester {
  return threadDigesters(memory, 1)[0]!;
}

/** Several that share one thread, which takes some 15 MiB: it ends with the first of them that is closed. */
export function threadDigesters(memory: readonly Uint8Array[], count: number): readonly Digester[] {
  const worker = new Worker(new URL('./digest-thread.js', import.meta.url), { workerData: memory, resourceLimits: THREAD_LIMITS });
  const waiting: { resolve: (answer: DigestAnswer) => void; reject: (error: unknown) => void }[] = [];
  let failure: unknown;
  const fail = (error: unknown): void => {
    failure = error;
    for (const { reject } of waiting.splice(0)) reject(error);
  };
  worker.on('message', (answer: DigestAnswer) => waiting.shift()?.resolve(answer));
  worker.on('error', fail);
  worker.on('exit', (code) => fail(new Error(`the digest thread ended with code ${code}`)));
  const close = async (): Promise<void> => void (await worker.terminate());
  return Array.from({ length: count }, (_, sequence) => ({
    update: (request) =>
      new Promise((resolve, reject) => {
        if (failure !== undefined) return reject(failure);
        waiting.push({ resolve, reject });
        worker.postMessage({ sequence, request } satisfies ThreadRequest, [request.bounds.buffer]);
      }),
    close,
  }));
}
