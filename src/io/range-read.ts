/**
 * One range of a remote file into memory, in one piece or several, right or not at all.
 *
 * Invariant: what comes back is checked against what was asked for (status, Content-Range, length, entity tag) before a byte of it
 * counts; a body that stops coming, breaks off or goes on too long is a fault; a retry asks only for what is still missing.
 */
import { CheckpointLoadError } from '../errors.ts';
import { retrying, type RetryPolicy } from './retry.ts';
import { CHANGED, networkFault, STALLED, StoreFault } from './store-fault.ts';
import { TOO_LONG, type RangeBody } from './wire/range-body.ts';
import { lengthOf, scatter } from './wire/scatter.ts';

export interface RangeAnswer {
  readonly status: number;
  /** `bytes 0-9/100`; null where the header is missing. */
  readonly contentRange: string | null;
  /** Null where the store gives none. */
  readonly etag: string | null;
  readonly body: RangeBody;
}

export interface RangedFile {
  readonly uri: string;
  readonly size: number;
  /** Null: nothing to compare with. */
  readonly etag: string | null;
  /** Whether an answer of this status may leave the tag out; default: none may. */
  readonly mayOmitTag?: (status: number) => boolean;
  /** Asks for `length` bytes from `offset`; rejects with a `StoreFault`. */
  request(offset: number, length: number, signal: AbortSignal): Promise<RangeAnswer>;
}

/** Fewer bytes than this within the time for a stall count as no progress: a drip keeps nobody waiting for ever. */
const LEAST_PROGRESS = 4096;
/** After an abort, work has this long to end by itself, in milliseconds; then its promise is abandoned. Longer than the grace that a store is given. */
const ABANDONED_AFTER = 5000;

/** Fills the targets one after the other from `offset`, in as many requests as the policy allows; rejects with a `StoreFault` or the signal's reason. */
export async function readRange(
  file: RangedFile,
  offset: number,
  targets: readonly Uint8Array[],
  policy: RetryPolicy,
  signal?: AbortSignal,
): Promise<void> {
  const length = lengthOf(targets);
  checkWithin(file, offset, length);
  let done = 0;
  if (length === 0) return;
  await retrying(policy, signal, () =>
    watched(policy.stallMs, signal, async (watch) => {
      const asked = { offset: offset + done, length: length - done };
      const answer = await file.request(asked.offset, asked.length, watch.signal);
      const cut = (): void => answer.body.destroy();
      watch.signal.addEventListener('abort', cut, { once: true });
      try {
        watch.signal.throwIfAborted();
        checkAnswer(file, asked, answer);
        await answer.body.into(scatter(targets, done), (count) => {
          done += count;
          watch.progress(count);
        });
      } catch (error) {
        // An answer to something else, for all we know: none of it counts.
        if (error instanceof StoreFault && error.code === TOO_LONG) done = asked.offset - offset;
        throw error;
      } finally {
        cut();
      }
      if (done < length)
        throw new StoreFault(`the body ended ${length - done} bytes before the ${asked.length} asked for`, {
          code: 'BodyTooShort',
          retryable: true,
        });
    }),
  );
}

export function checkWithin(file: { readonly uri: string; readonly size: number }, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= file.size) return;
  throw new CheckpointLoadError(
    `${file.uri}: bytes ${offset} to ${offset + length} lie past its end at ${file.size}. The file is truncated.`,
    file.uri,
  );
}

function checkAnswer(file: RangedFile, asked: { readonly offset: number; readonly length: number }, answer: RangeAnswer): void {
  if (file.etag !== null && answer.etag !== null && answer.etag !== file.etag)
    throw new StoreFault(`its entity tag is ${answer.etag}, expected ${file.etag}`, { code: CHANGED, retryable: false });
  const all = asked.offset === 0 && asked.length === file.size;
  if (answer.status !== 200 || !all) checkPart(file, asked, answer);
  // Whatever else fits: nothing says that these bytes are of the version that was pinned.
  if (file.etag !== null && answer.etag === null && file.mayOmitTag?.(answer.status) !== true)
    throw new StoreFault(
      `the answer does not name the version any more, expected ${file.etag}; if nothing was changed, a cache or proxy on the way leaves that header out`,
      { code: CHANGED, retryable: false },
    );
}

function checkPart(file: RangedFile, asked: { readonly offset: number; readonly length: number }, answer: RangeAnswer): void {
  if (answer.status !== 206)
    throw new StoreFault(`status ${answer.status} came for a range, expected 206`, {
      code: 'RangeIgnored',
      status: answer.status,
      retryable: true,
    });
  const expected = `bytes ${asked.offset}-${asked.offset + asked.length - 1}/`;
  const got = answer.contentRange ?? 'no Content-Range';
  if (got !== `${expected}${file.size}` && got !== `${expected}*`)
    throw new StoreFault(`the store sent "${got}", expected "${expected}${file.size}"`, {
      code: 'WrongContentRange',
      status: 206,
      retryable: true,
    });
}

export interface Watch {
  /** Aborts with the caller's signal, or when nothing comes for too long. */
  readonly signal: AbortSignal;
  /** So many more bytes came. */
  progress(bytes: number): void;
}

/** Runs `work` under a watch: too little progress within `stallMs` aborts it with a fault of code `Stalled`, and settles even where `work` never does. */
export async function watched<T>(stallMs: number, signal: AbortSignal | undefined, work: (watch: Watch) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const abort = (): void => controller.abort(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  let stalled: StoreFault | undefined;
  let came = 0;
  const stall = (): void => {
    stalled = new StoreFault(`fewer than ${LEAST_PROGRESS} bytes came within ${stallMs / 1000} s`, { code: STALLED, retryable: true });
    controller.abort(stalled);
  };
  const timer = setTimeout(stall, stallMs);
  let late: NodeJS.Timeout | undefined;
  const abandoned = new Promise<never>((_, reject) => {
    const wait = (): void => void (late = setTimeout(() => reject(controller.signal.reason), ABANDONED_AFTER));
    controller.signal.addEventListener('abort', wait, { once: true });
  });
  const watch: Watch = {
    signal: controller.signal,
    progress(bytes) {
      came += bytes;
      if (came < LEAST_PROGRESS) return;
      came = 0;
      timer.refresh();
    },
  };
  try {
    signal?.throwIfAborted();
    return await Promise.race([work(watch), abandoned]);
  } catch (error) {
    // Whatever the library made of the abort, what counts is why.
    signal?.throwIfAborted();
    throw stalled ?? (error instanceof StoreFault ? error : (networkFault(error) ?? error));
  } finally {
    clearTimeout(timer);
    clearTimeout(late);
    signal?.removeEventListener('abort', abort);
  }
}
