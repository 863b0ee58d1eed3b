/**
 * SHA-256 of the byte strings that a sequence of blocks holds, end to end: one string may span many blocks, one block may hold many strings.
 *
 * Runs in the caller's thread or, where there is much to do, in one of its own over shared memory: at some 1.4 GB/s for a core,
 * digests would otherwise be what a copy waits for.
 */
import { createHash, hash, type Hash } from 'node:crypto';
import { Worker } from 'node:worker_threads';

/** Bytes `from`–`to` of a block belong to the string `key`; `ends` with its last. */
export interface DigestPiece {
  readonly key: number;
  readonly from: number;
  readonly to: number;
  readonly ends: boolean;
}

export interface DigestRequest {
  /** Which of the blocks of memory. */
  readonly slot: number;
  readonly pieces: readonly DigestPiece[];
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
  /** Strings that ended in this block. */
  readonly ended: readonly { readonly key: number; readonly sha256: string }[];
  readonly snapshot: string | null;
}

export interface Digester {
  /**
   * Requests are served in order; the memory may be reused when the promise resolves. `views`: the bytes of each piece, where the caller has
   * them at hand, as for very many pieces it takes its time to make them.
   */
  update(request: DigestRequest, views?: readonly Uint8Array[]): Promise<DigestAnswer>;
  close(): Promise<void>;
}

/** The state of one sequence of requests. */
export function digestSequence(memory: readonly Uint8Array[]): (request: DigestRequest, views?: readonly Uint8Array[]) => DigestAnswer {
  let running: Hash | undefined;
  return ({ slot, pieces, snapshot }, views) => {
    const ended: { key: number; sha256: string }[] = [];
    for (let at = 0; at < pieces.length; at++) {
      const { key, from, to, ends } = pieces[at]!;
      const bytes = views?.[at] ?? memory[slot]!.subarray(from, to);
      if (running === undefined && ends) {
        ended.push({ key, sha256: hash('sha256', bytes) });
        continue;
      }
      running ??= createHash('sha256');
      running.update(bytes);
      if (ends) {
        ended.push({ key, sha256: running.digest('hex') });
        running = undefined;
      }
    }
    return { ended, snapshot: snapshot && running !== undefined ? running.copy().digest('hex') : null };
  };
}

export function inlineDigester(memory: readonly Uint8Array[]): Digester {
  const step = digestSequence(memory);
  return { update: async (request, views) => step(request, views), close: async () => undefined };
}

/** `memory` must lie in shared buffers. */
export function threadDigester(memory: readonly Uint8Array[]): Digester {
  return threadDigesters(memory, 1)[0]!;
}

/** Several that share one thread, which takes some 15 MiB: it ends with the first of them that is closed. */
export function threadDigesters(memory: readonly Uint8Array[], count: number): readonly Digester[] {
  const worker = new Worker(new URL('./digest-thread.js', import.meta.url), { workerData: memory });
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
        worker.postMessage({ sequence, request } satisfies ThreadRequest);
      }),
    close,
  }));
}
