/**
 * Outcomes in parts, and the results file made of them.
 *
 * Parts form a chain from the last one back, and each names those before it in its group, so that one in sixty-four is read to know
 * all. Each says which is the first item it tells of: in this order they are merged, and what is held at a time are the parts that
 * overlap. Invariant: the results are in the order of the items, and memory does not grow with their number but for a line per part.
 */
import { Context } from '@temporalio/activity';
import { CheckpointError, CheckpointLoadError, isCheckpointError, textOf } from '../../src/errors.ts';
import { isDiskFull } from '../../src/io/local/full-disk.ts';
import { checkWritable } from '../../src/io/locations/places.ts';
import { destinationOf } from '../../src/io/publish/destination.ts';
import type { BlobReference } from '../../src/model/context.ts';
import type { BatchItem, Noted, Outcome, Rest } from '../../src/pipeline/batch.ts';
import type { Services, Workspace } from '../services.ts';
import type { FinishInput, RecordInput } from './index.ts';
import { itemsOf } from './list.ts';

const GROUP = 64;

/** A part, and the least index in it. */
interface PartReference extends BlobReference {
  readonly first: number;
}

interface Part {
  /** Those before this one in its group, the newest last. */
  readonly group: readonly PartReference[];
  /** The last one of the group before. */
  readonly earlier: BlobReference | null;
  readonly outcomes: readonly Outcome[];
}

export async function recordPart(services: Services, { workspace, index, previous, outcomes }: RecordInput): Promise<BlobReference> {
  const store = services.workspace(workspace);
  const pages = new Map<number, readonly BatchItem[]>();
  const complete: Outcome[] = [];
  for (const { page, offset, ...outcome } of outcomes) {
    const items = pages.get(page) ?? (await itemsOf(store, index, page));
    pages.set(page, items);
    const item = items[offset];
    if (item === undefined) throw changedPage(index, { page, offset, items: items.length });
    complete.push(withItem(item, outcome));
  }
  const before = previous === null ? null : ((await store.getJson(previous)) as Part);
  const full = before !== null && before.group.length + 1 >= GROUP;
  const part: Part = {
    group: previous === null || before === null || full ? [] : [...before.group, { ...previous, first: firstOf(before.outcomes) }],
    earlier: full ? previous : (before?.earlier ?? null),
    outcomes: complete,
  };
  return store.putJson(part);
}

/** No attempt would find it. The list is named by its digest, as its URI may hold all of it. */
function changedPage(
  { sha256 }: BlobReference,
  place: { readonly page: number; readonly offset: number; readonly items: number },
): CheckpointLoadError {
  const { page, offset, items } = place;
  return new CheckpointLoadError(
    `The items of the batch are not those that were listed: page ${page} of the list ${sha256} has ${items} of them, expected one at ${offset}. Has somebody changed the workspace? Start the batch again.`,
    null,
    { details: { ...place } },
  );
}

function withItem({ key: item, ...kept }: BatchItem, { index, ...rest }: Omit<Noted, 'page' | 'offset'>): Outcome {
  return { index, item, ...kept, ...rest };
}

export async function finishResults(services: Services, { workspace, part, rest, results, batch, run }: FinishInput): Promise<string> {
  const store = services.workspace(workspace);
  const { cancellationSignal: signal } = Context.current();
  const lines = allLines(store, part, rest, signal);
  if (results === null) return store.writeFile(resultsName(batch, run), lines);
  await services.storage.check(results);
  await checkWritable(results, services.storage, signal);
  await destinationOf(services.storage, results, signal)
    .writeLong(results, lines)
    .catch((error: unknown) => {
      throw isDiskFull(error) ? noRoom(results, error) : error;
    });
  return results;
}

/** No attempt finds it unless somebody makes it, and the workspace takes the results meanwhile. */
function noRoom(results: string, cause: unknown): CheckpointError {
  return new CheckpointError(
    `No room for the results at ${results}: ${textOf(cause)}. Free some space there, or choose another place by \`results\`.`,
    { cause, retryable: false, details: { path: results } },
  );
}

/** In the workspace. Ids may hold what names of files may not; the run tells them apart. */
export function resultsName(batch: string, run: string): string {
  return `batches/${batch.replaceAll(/[^A-Za-z0-9._-]/g, '_').slice(0, 100)}/${run}.jsonl`;
}

async function* allLines(store: Workspace, tip: BlobReference | null, rest: Rest | undefined, signal: AbortSignal): AsyncGenerator<string> {
  yield* linesOf(store, tip, signal);
  if (rest !== undefined) yield* restOf(store, rest, signal);
}

async function* linesOf(store: Workspace, tip: BlobReference | null, signal: AbortSignal): AsyncGenerator<string> {
  const parts = (await partsOf(store, tip)).sort((a, b) => a.first - b.first);
  /** Of parts that were read, by index: what may still be preceded by another part's. */
  let held: readonly Outcome[] = [];
  for (const [at, part] of parts.entries()) {
    signal.throwIfAborted();
    const { outcomes } = (await store.getJson(part)) as Part;
    held = [...held, ...outcomes].sort((a, b) => a.index - b.index);
    const next = parts[at + 1]?.first ?? Infinity;
    const ready = held.filter(({ index }) => index < next);
    held = held.slice(ready.length);
    if (ready.length > 0) yield ready.map((line) => `${JSON.stringify(line)}\n`).join('');
  }
}

/** Of a list that the workspace holds no more there is nothing to tell: the outcomes are worth as much without it. */
async function* restOf(store: Workspace, { list, page, offset, index }: Rest, signal: AbortSignal): AsyncGenerator<string> {
  let next = index;
  let from = offset;
  for (let at = page; ; at++, from = 0) {
    signal.throwIfAborted();
    const items = await itemsOf(store, list, at).catch((error: unknown) => {
      if (isCheckpointError(error) && !error.retryable) return [];
      throw error;
    });
    if (items.length === 0) return;
    const lines = items.slice(from).map((item) => JSON.stringify(notStarted(item, next++)));
    if (lines.length > 0) yield `${lines.join('\n')}\n`;
  }
}

function notStarted({ key: item, ...kept }: BatchItem, index: number): Outcome {
  return { index, item, ...kept, status: 'not_started', workflow_id: null, run_id: null, outputs: [], error: null };
}

async function partsOf(store: Workspace, tip: BlobReference | null): Promise<PartReference[]> {
  const parts: PartReference[] = [];
  for (let at = tip; at !== null;) {
    const { outcomes, group, earlier } = (await store.getJson(at)) as Part;
    parts.push({ ...at, first: firstOf(outcomes) }, ...group);
    at = earlier;
  }
  return parts;
}

function firstOf(outcomes: readonly Outcome[]): number {
  return outcomes.reduce((least, { index }) => Math.min(least, index), Infinity);
}
