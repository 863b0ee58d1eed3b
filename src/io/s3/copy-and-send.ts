/**
 * Brings the parts of an upload into a store that copies most of them itself; the rest is made here, range by range. Nobody sees all
 * bytes, so nothing is digested.
 *
 * Invariant: when the promise settles, nothing of the transfer runs any more.
 */
import { setMaxListeners } from 'node:events';
import { sourceEndedBy } from '../../model/byte-source.ts';
import { layoutRange } from '../copy/layout-range.ts';
import { openFiles } from '../copy/open-files.ts';
import { changedError } from './explain.ts';
import { headS3 } from './head.ts';
import { parseS3 } from './location.ts';
import { memberStarts } from './member-starts.ts';
import type { PlannedPart } from './parts.ts';
import type { PartSender, Transfer } from './send-parts.ts';
import { parseIdentity } from './source.ts';

/** Parts that one transfer makes and sends at a time beside copies: with fewer, the last are sent when the store has nothing left to copy. */
const SENT_AT_ONCE = 3;
/** Parts that one transfer lets the store copy at a time. */
const COPIED_AT_ONCE = 16;

/** `begin` takes the upload; what copies wait for is looked up meanwhile. */
export async function copyAndSend(
  transfer: Transfer,
  parts: readonly PlannedPart[],
  begin: () => Promise<PartSender>,
): Promise<PartSender> {
  const { layout, plan, open, memory } = transfer;
  const stop = new AbortController();
  const signal = AbortSignal.any([transfer.signal, stop.signal]);
  // Every request under way listens.
  setMaxListeners(0, signal);
  const files = openFiles(plan.files, open);
  const ranges = layoutRange(layout, plan, files);
  const starts = memberStarts(plan, async (file) => sourceEndedBy(signal, await files.source(file)));
  const isCopied = ({ copy }: PlannedPart): boolean => copy !== null;
  /** What is wrong shows where the part is copied. */
  const lookUp = (part: PlannedPart | undefined): void => {
    if (part !== undefined) starts.of(part.copy!).catch(() => undefined);
  };

  async function copyAll(left: readonly PlannedPart[], sender: PartSender): Promise<void> {
    const queue = left.entries();
    const lane = async (): Promise<void> => {
      for (const [index, part] of queue) {
        const start = await starts.of(part.copy!);
        // While this one is copied: the store never waits to hear where the next begins.
        lookUp(left[index + COPIED_AT_ONCE]);
        signal.throwIfAborted();
        await sender.copy(part, start + part.copy!.offset, signal);
      }
    };
    await lanes(COPIED_AT_ONCE, lane);
  }

  async function sendAll(left: readonly PlannedPart[], sender: PartSender): Promise<void> {
    const queue = left.values();
    const lane = async (): Promise<void> => {
      for (const part of queue) {
        signal.throwIfAborted();
        const { bytes, release } = await memory.take(part.length, signal);
        try {
          await ranges.fill(part.offset, bytes, signal);
          await sender.send(part, bytes, signal);
        } finally {
          release();
        }
      }
    };
    await lanes(SENT_AT_ONCE, lane);
  }

  /** The first that fails ends the others; waits for all. */
  async function lanes(count: number, lane: () => Promise<void>): Promise<void> {
    const running = Array.from({ length: count }, lane);
    for (const each of running) each.catch((error: unknown) => stop.abort(error));
    await Promise.allSettled(running);
  }

  try {
    parts.filter(isCopied).slice(0, COPIED_AT_ONCE).forEach(lookUp);
    const sender = await begin();
    const copies = parts.filter((part) => isCopied(part) && !sender.keep(part));
    await Promise.all([
      copyAll(copies, sender),
      sendAll(
        parts.filter((part) => !isCopied(part)),
        sender,
      ),
    ]);
    transfer.signal.throwIfAborted();
    signal.throwIfAborted();
    await ranges.readRests(signal);
    await checkSources(transfer, parts);
    return sender;
  } catch (error) {
    stop.abort(error);
    throw await ranges.explained(error, transfer.signal);
  } finally {
    await starts.settled();
    await files.close();
  }
}

/** Some stores do not heed the condition of a copy: the sources must still be what was pinned. */
async function checkSources({ plan, port, policy, signal }: Transfer, parts: readonly PlannedPart[]): Promise<void> {
  for (const file of new Set(parts.flatMap(({ copy }) => (copy === null ? [] : [copy.file])))) {
    const { uri, identity } = plan.files[file]!;
    const { etag, versionId } = parseIdentity(identity);
    const { bucket, key } = parseS3(uri);
    const now = await headS3(port, { bucket, key, versionId }, { checksum: false }, policy, signal);
    if (now.etag !== etag) throw changedError(uri, `its entity tag is ${now.etag}, expected ${etag}`);
  }
}
