/**
 * The walk over a batch's list: begins items as there is room, and waits for their ends, here or in the next run.
 *
 * Invariant: what is handed over has started, and all outcomes are written before.
 */
import { CancellationScope, CancelledFailure, condition, continueAsNew, workflowInfo } from '@temporalio/workflow';
import {
  borne,
  handOver,
  nameOf,
  PAGE_ACTIVITY,
  PART,
  windowOf,
  type BatchCarry,
  type BatchInput,
  type ContinuedBatch,
} from '../src/pipeline/batch.ts';
import type { Children, Settle } from './batch-children.ts';
import type { Ledger } from './batch-ledger.ts';
import type { BatchList } from './batch-list.ts';
import type { checkpointBatch } from './checkpoint-batch.ts';
import { files } from './proxies.ts';

/** Outcomes that may wait for the workspace before no more items are begun. */
const MOST_UNWRITTEN = 4 * PART;

export interface Walked {
  /** It was found. */
  readonly list: BatchList;
  readonly children: Children;
  readonly ledger: Ledger;
  readonly settle: Settle;
  readonly workspace: string | null;
  /** What has become of the batch so far, which the next run is told, too. */
  readonly soFar: () => Pick<BatchCarry, 'totals' | 'paused' | 'since'>;
  /** No more items are begun, as too many have failed. */
  readonly stopping: () => void;
}

/** Resolves when all that was begun has ended; continues as new before, where this run has grown long and items are left. */
export async function walk(input: BatchInput, batch: Walked): Promise<void> {
  const { list, children, ledger, settle, workspace, soFar } = batch;
  const { pipeline } = input;
  const index = list.index()!;
  const window = windowOf(input);
  const most = borne(input, list.total());
  const tooMany = (): boolean => soFar().totals.failed > most;
  const longEnough = (): boolean => workflowInfo().continueAsNewSuggested || list.begun() >= (input.continue_after ?? Infinity);

  while (list.left() > 0 && !tooMany() && !longEnough()) {
    if (list.needsPage()) list.usePage(await files[PAGE_ACTIVITY]({ index, page: list.nextPage(), workspace, pipeline }));
    if (ledger.waiting() > MOST_UNWRITTEN) await ledger.flush();
    const item = list.item();
    const room = (): boolean => item.unchanged !== undefined || children.haveRoom(window);
    await condition(() => tooMany() || (!soFar().paused && room()));
    if (tooMany()) break;
    const place = list.take();
    if (item.unchanged === undefined) children.begin(pipeline, place, item);
    else settle(place, nameOf(item), null, { status: 'unchanged', outputs: item.unchanged, error: null });
  }

  const goesOn = (): boolean => list.left() > 0 && !tooMany();
  const mayHandOver = (): boolean => goesOn() && children.areConfirmed() && children.running() <= handOver(window);
  for (;;) {
    if (tooMany()) batch.stopping();
    await condition(() => children.running() === 0 || mayHandOver());
    // Another child may end between the last part and here: what is not written by now would be lost.
    do await ledger.flush();
    while (ledger.waiting() > 0);
    if (goesOn()) await continueAsNew<typeof checkpointBatch>(continued(input, batch));
    else if (children.running() === 0) return;
  }
}

function continued(input: BatchInput, { list, children, ledger, soFar }: Walked): ContinuedBatch {
  // The next run would not know of it.
  if (CancellationScope.current().consideredCancelled) throw new CancelledFailure('The batch was cancelled.');
  // A list has been written down; it does not travel again.
  const items = Array.isArray(input.items) ? [] : input.items;
  // A page that was used up is not read again.
  list.nextPage();
  const carried = { ...list.standing(), part: ledger.tip(), stragglers: children.stragglers(), ...soFar() };
  return { ...input, items, carried };
}
