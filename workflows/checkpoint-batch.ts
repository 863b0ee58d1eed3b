/**
 * A batch as a sliding window of children, one `checkpointPipeline` for each item.
 *
 * Invariant: every item that was begun has exactly one outcome, however its child ended; outcomes lie in the workspace, and
 * what this workflow keeps does not grow with their number.
 *
 * When a run has grown long it starts no more children, waits until at most a quarter of the window is still running, and
 * continues as new; children are abandoned rather than closed with their parent, and the next run awaits those by an activity.
 * Signals from the children would cost more events, and one that is terminated would never send any.
 */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  allHandlersFinished,
  CancelledFailure,
  CancellationScope,
  ChildWorkflowFailure,
  condition,
  continueAsNew,
  ContinueAsNew,
  defineQuery,
  defineSignal,
  getExternalWorkflowHandle,
  isCancellation,
  ParentClosePolicy,
  patched,
  setCurrentDetails,
  setHandler,
  startChild,
  TemporalFailure,
  upsertMemo,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { CheckpointConfigError, isCheckpointError, type ErrorReport, type JsonObject } from '../src/errors.ts';
import { isMapping } from '../src/model/json.ts';
import { within } from '../src/model/text.ts';
import { attributePairs } from '../src/pipeline/attribute-pairs.ts';
import { batchDetails } from '../src/pipeline/batch-details.ts';
import { checkBatch, checkBatchId } from '../src/pipeline/batch-document.ts';
import { expand, refuseClimbing, refuseTaken } from '../src/pipeline/batch-template.ts';
import {
  AWAIT_ACTIVITY,
  BATCH_REPORT_ACTIVITY,
  borne,
  briefReport,
  childId,
  FINISH_ACTIVITY,
  handOver,
  LIST_ACTIVITY,
  nameOf,
  NO_TOTALS,
  paceOf,
  PAGE_ACTIVITY,
  PART,
  PAUSE_SIGNAL,
  RECORD_ACTIVITY,
  RESUME_SIGNAL,
  windowOf,
  withOutcome,
  type BatchCarry,
  type BatchInput,
  type BatchItem,
  type BatchResult,
  type BatchStatus,
  type ContinuedBatch,
  type Ending,
  type ListedItem,
  type Place,
  type Straggler,
} from '../src/pipeline/batch.ts';
import { boundedDetails } from '../src/pipeline/bounded.ts';
import { PIPELINE_WORKFLOW, RESULT_MEMO, STATUS_QUERY, type PipelineInput, type PipelineResult } from '../src/pipeline/contract.ts';
import { ATTRIBUTES_MEMO, startAttributes } from '../src/pipeline/search-attributes.ts';
import { openLedger } from './batch-ledger.ts';
import { failureOf, reportOfFailure } from './failures.ts';
import { awaiting, files, listing, placing, placingSoon, reporting } from './proxies.ts';

const statusQuery = defineQuery<BatchResult>(STATUS_QUERY);
const pauseSignal = defineSignal(PAUSE_SIGNAL);
const resumeSignal = defineSignal(RESUME_SIGNAL);

/** Batches yield to runs that somebody waits for. */
const PRIORITY = 4;
/** Bytes that Temporal takes for a fairness key. */
const FAIRNESS_BYTES = 64;
/** Bytes of a child's input: a payload has at most 2 MiB. */
const MOST_INPUT = 1.5 * 1024 * 1024;
/** Bytes of inputs of children whose start is not confirmed: a task of the workflow is refused at 4 MB. */
const MOST_UNCONFIRMED = 1024 * 1024;
/** Outcomes that may wait for the workspace before no more items are begun. */
const MOST_UNWRITTEN = 4 * PART;
/** The change after which an item may not lead out of the folder of the template. */
const ITEMS_STAY_BELOW = 'items-stay-below';
/** The change after which an item whose pipeline is too large fails alone. */
const INPUTS_ARE_BOUNDED = 'inputs-are-bounded';

export async function checkpointBatch(input: BatchInput | ContinuedBatch): Promise<BatchResult> {
  const info = workflowInfo();
  const { workflowId } = info;
  const { given, asked } = handedOver(input, info.continuedFromExecutionRunId !== undefined);
  // Not looked at yet: what else it may be ends the batch in words, below.
  const document: Partial<BatchInput> = isMapping(asked) ? asked : {};
  let status: BatchStatus = 'listing';
  let paused = given?.paused ?? false;
  let totals = given?.totals ?? NO_TOTALS;
  let total = given?.total ?? 0;
  let results: string | null = null;
  let reported: Pick<BatchResult, 'report' | 'report_error'> = {};
  let error: ErrorReport | null = null;
  const since = given?.since ?? Date.now();
  /** Children by the index of their item; null where the start is not confirmed. */
  const running = new Map<number, Straggler | null>();
  let unconfirmed = 0;
  let list = given?.index ?? null;
  /** Where the first item stands that was not begun. */
  let { page, offset, next } = given ?? { page: 0, offset: 0, next: 0 };
  const workspace = document.pipeline?.workspace ?? null;
  const said = info.memo?.[ATTRIBUTES_MEMO];
  const known: readonly string[] = Array.isArray(said) ? said.map(String) : [];
  const ledger = openLedger(
    // There is a list before there is an outcome.
    (previous, outcomes) => files[RECORD_ACTIVITY]({ workspace, index: list!, previous, outcomes }),
    given?.part ?? null,
  );

  const stands = (): BatchStatus => (status === 'running' && paused ? 'paused' : status);
  const result = (): BatchResult => ({
    workflow_id: workflowId,
    status: stands(),
    total,
    completed: totals.completed,
    unchanged: totals.unchanged,
    failed: totals.failed,
    cancelled: totals.cancelled,
    running: running.size,
    results,
    ...reported,
    failures: totals.failures,
    failures_by_code: totals.codes,
    ...paceOf({ ...totals, status: stands(), total }, Date.now() - since),
    error,
  });
  setHandler(statusQuery, result, { description: 'totals, rate, time left and the last failures of the batch' });
  setHandler(pauseSignal, () => void (paused = true), { description: 'start no more items' });
  setHandler(resumeSignal, () => void (paused = false), { description: 'go on after a pause' });

  const settle = (place: Place, name: string, child: { workflowId: string; runId: string | null } | null, ending: Ending): void => {
    running.delete(place.index);
    totals = withOutcome(totals, name, ending);
    ledger.add({
      index: place.index,
      page: place.page,
      offset: place.offset,
      status: ending.status,
      workflow_id: child?.workflowId ?? null,
      run_id: child?.runId ?? null,
      outputs: ending.outputs,
      error: ending.error === null ? null : briefReport(ending.error),
      ended: new Date().toISOString(),
    });
    setCurrentDetails(batchDetails(result()));
  };

  async function runChild(input: BatchInput, place: Place, item: BatchItem): Promise<void> {
    running.set(place.index, null);
    const id = childId(workflowId, place.index, item);
    const name = nameOf(item);
    let runId: string | null = null;
    try {
      const pipeline = expand(input.pipeline, item);
      checkBelow(input.pipeline, item);
      refuseTaken(item);
      const size = new TextEncoder().encode(JSON.stringify(pipeline)).length;
      checkSize(item, size);
      unconfirmed += size;
      const child = await startChild<(document: PipelineInput) => Promise<PipelineResult>>(PIPELINE_WORKFLOW, {
        workflowId: id,
        args: [pipeline],
        parentClosePolicy: ParentClosePolicy.ABANDON,
        staticSummary: name,
        memo: { [ATTRIBUTES_MEMO]: known },
        typedSearchAttributes: attributePairs({ ...startAttributes(pipeline), CheckpointBatch: workflowId }, known),
        priority: { priorityKey: PRIORITY, fairnessKey: within(workflowId, FAIRNESS_BYTES) },
      }).finally(() => (unconfirmed -= size));
      runId = child.firstExecutionRunId;
      running.set(place.index, { ...place, name, workflowId: id, runId });
      const { status, outputs } = await child.result();
      const done = status === 'unchanged' ? 'unchanged' : 'completed';
      settle(place, name, { workflowId: id, runId }, { status: done, outputs: outputs.map(({ uri }) => uri), error: null });
    } catch (thrown) {
      settle(place, name, { workflowId: id, runId }, endingOf(thrown, id));
    }
  }

  async function adopt(stragglers: readonly Straggler[]): Promise<void> {
    let left = stragglers;
    while (left.length > 0) {
      const children = left.map(({ workflowId, runId }) => ({ workflowId, runId }));
      const { ended } = await awaiting[AWAIT_ACTIVITY]({ children }).catch((thrown: unknown) => {
        if (isCancellation(thrown)) throw thrown;
        // Nobody can tell how they end, so they count as failed.
        return { ended: left.map(({ workflowId }) => ({ workflowId, ending: endingOf(thrown, workflowId) })) };
      });
      for (const { workflowId: id, ending } of ended) {
        const one = left.find((straggler) => straggler.workflowId === id);
        // A cancellation asks for all of them anew, while the answer to the question before may be under way.
        if (one !== undefined && running.has(one.index)) settle(one, one.name, one, ending);
      }
      left = left.filter(({ workflowId: id }) => !ended.some((each) => each.workflowId === id));
    }
  }

  /** Children of an earlier run are nobody's any more: they are told one by one. */
  async function cancelAdopted(): Promise<void> {
    const adopted = (given?.stragglers ?? []).filter(({ index }) => running.has(index));
    await Promise.all(
      adopted.map(({ workflowId: id, runId }) =>
        getExternalWorkflowHandle(id, runId)
          .cancel()
          // It has ended meanwhile.
          .catch(() => undefined),
      ),
    );
    await adopt(adopted);
  }

  /** There is a list. Gives what kept the results from where they were wanted: then they lie in the workspace. */
  async function finish(wanted = placing): Promise<ErrorReport | null> {
    await ledger.flush();
    const rest = next < total ? { rest: { list: list!, index: next, page, offset } } : {};
    const batch = { workspace, part: ledger.tip(), ...rest, batch: workflowId, run: info.firstExecutionRunId };
    const put = (place: string | null, activities: typeof listing): Promise<string> =>
      activities[FINISH_ACTIVITY]({ ...batch, results: place });
    const place = document.results ?? null;
    try {
      results = await put(place, place === null ? listing : wanted);
      return null;
    } catch (thrown) {
      if (place === null || !isOwn(thrown)) throw thrown;
      results = await put(null, listing);
      return reportOfFailure(thrown);
    }
  }

  /** Begins items and waits for their ends; gives how many were not begun. */
  async function run(input: BatchInput): Promise<number> {
    const { index, total: found } =
      given ?? (await listing[LIST_ACTIVITY]({ items: input.items, workspace, results: input.results ?? null, pipeline: input.pipeline }));
    list = index;
    total = found;
    status = 'running';
    const window = windowOf(input);
    const most = borne(input, total);
    const firstOfRun = next;
    let items: readonly ListedItem[] | null = null;
    for (const straggler of given?.stragglers ?? []) running.set(straggler.index, straggler);
    // It ends early only where the batch is cancelled, and then they are awaited anew.
    void adopt(given?.stragglers ?? []).catch((thrown: unknown) => (isCancellation(thrown) ? undefined : Promise.reject(thrown)));
    const tooMany = (): boolean => totals.failed > most;
    const longEnough = (): boolean => workflowInfo().continueAsNewSuggested || next - firstOfRun >= (input.continue_after ?? Infinity);

    while (next < total && !tooMany() && !longEnough()) {
      if (items === null || offset >= items.length) {
        if (items !== null) [page, offset] = [page + 1, 0];
        ({ items } = await files[PAGE_ACTIVITY]({ index, page, workspace, pipeline: input.pipeline }));
        if (items.length === 0) throw failureOf(listChanged(next, total));
      }
      if (ledger.waiting() > MOST_UNWRITTEN) await ledger.flush();
      const item = items[offset]!;
      const room = (): boolean => item.unchanged !== undefined || (running.size < window && unconfirmed < MOST_UNCONFIRMED);
      await condition(() => tooMany() || (!paused && room()));
      if (tooMany()) break;
      const place = { index: next++, page, offset: offset++ };
      if (item.unchanged === undefined) void runChild(input, place, item);
      else settle(place, nameOf(item), null, { status: 'unchanged', outputs: item.unchanged, error: null });
    }
    for (;;) {
      if (tooMany()) status = 'stopping';
      const rest = (): boolean => next < total && !tooMany();
      const confirmed = (): boolean => [...running.values()].every((one) => one !== null);
      await condition(() => running.size === 0 || (rest() && confirmed() && running.size <= handOver(window)));
      // Another child may end between the last part and here: what is not written by now would be lost.
      do await ledger.flush();
      while (ledger.waiting() > 0);
      if (!rest() && running.size === 0) return total - next;
      if (!rest()) continue;
      // The next run would not know of it.
      if (CancellationScope.current().consideredCancelled) throw new CancelledFailure('The batch was cancelled.');
      const stragglers = [...running.values()].filter((one) => one !== null);
      // A list has been written down; it does not travel again.
      const source = Array.isArray(input.items) ? [] : input.items;
      // A page that was used up is not read again.
      if (items !== null && offset >= items.length) [page, offset] = [page + 1, 0];
      const part = ledger.tip();
      const carried = { index, total, page, offset, next, part, totals, stragglers, paused, since };
      await continueAsNew<typeof checkpointBatch>({ ...input, items: source, carried });
    }
  }

  /** What happens to a report is not the batch's failure, nor is a cancellation that comes now its end. */
  async function report(): Promise<void> {
    if (document.report !== true || results === null) return;
    const started = new Date(since).toISOString();
    const records = {
      result: result(),
      document: boundedDetails(document as JsonObject),
      runId: info.runId,
      started,
      ended: new Date().toISOString(),
    };
    const place = { workspace, results: document.results ?? null, batch: workflowId, run: info.firstExecutionRunId };
    try {
      const uri = await CancellationScope.nonCancellable(() => reporting[BATCH_REPORT_ACTIVITY]({ ...place, records }));
      reported = { report: uri };
    } catch (thrown) {
      if (!isOwn(thrown)) throw thrown;
      reported = { report_error: reportOfFailure(thrown).message.slice(0, 300) };
    }
  }

  // A schedule and a Nexus operation start a batch under an id that nobody knows before.
  const isNamed = info.typedSearchAttributes.getAll().some(({ key }) => key.name === 'CheckpointBatch');
  const naming = isNamed ? [] : attributePairs({ CheckpointBatch: workflowId }, known);
  if (naming.length > 0) upsertSearchAttributes(naming);

  const end = async (now: BatchStatus): Promise<void> => {
    status = now;
    const pairs = attributePairs({ CheckpointStatus: now }, known);
    if (pairs.length > 0) upsertSearchAttributes(pairs);
    await report();
    await condition(allHandlersFinished);
  };

  try {
    let broken: ErrorReport | null = null;
    let notBegun = 0;
    try {
      checkBatchId(workflowId);
      notBegun = await run(checkBatch(asked));
    } catch (thrown) {
      if (!isOwn(thrown)) throw thrown;
      broken = reportOfFailure(thrown);
      status = 'stopping';
      // What runs is neither left alone nor forgotten.
      await condition(() => running.size === 0);
    }
    if (list !== null) {
      const unwritten = await finish().catch((thrown: unknown) => (isOwn(thrown) ? reportOfFailure(thrown) : Promise.reject(thrown)));
      broken ??= unwritten;
    }
    const most = total === 0 ? Infinity : borne(document, total);
    if (broken === null && totals.failed > most)
      broken = {
        type: 'CheckpointError',
        message: `${totals.failed} of ${total} items failed, more than the ${most} that \`max_failures\` or \`continue_on_error\` allow; ${notBegun} were not started.`,
        details: boundedDetails({ failures: totals.failures, results, not_started: notBegun }),
      };
    error = broken;
    await end(error === null ? 'completed' : 'failed');
    if (error !== null) throw failureOf(error, result());
    return result();
  } catch (thrown) {
    if (!isCancellation(thrown)) throw thrown;
    await CancellationScope.nonCancellable(async () => {
      status = 'stopping';
      await cancelAdopted();
      await condition(() => running.size === 0);
      if (list !== null) await finish(placingSoon).catch((failed: unknown) => (isOwn(failed) ? undefined : Promise.reject(failed)));
      await end('cancelled');
      upsertMemo({ [RESULT_MEMO]: result() });
    });
    throw thrown;
  }
}

/** What an earlier run hands over, apart from what somebody asked for: a document alone hands over nothing. */
function handedOver(input: unknown, continued: boolean): { readonly given: BatchCarry | undefined; readonly asked: unknown } {
  if (!continued || !isMapping(input)) return { given: undefined, asked: input };
  const { carried, ...asked } = input as unknown as ContinuedBatch;
  return { given: carried, asked };
}

/** Items that a batch of an earlier version has begun all the same go on. */
function checkBelow(template: PipelineInput, item: BatchItem): void {
  try {
    refuseClimbing(template, item);
  } catch (refused) {
    // Asked only here: the histories of all other batches stay as they are.
    if (patched(ITEMS_STAY_BELOW)) throw refused;
  }
}

/** The server refuses a child whose input is larger, and with it the whole step of the batch, each time. */
function checkSize({ key }: BatchItem, bytes: number): void {
  if (bytes <= MOST_INPUT || !patched(INPUTS_ARE_BOUNDED)) return;
  throw new CheckpointConfigError(
    `The template with the values of ${within(key, 200, 'end')} has ${bytes} bytes of JSON, at most ${MOST_INPUT}: its run begins with it. Put long values into a file, and name that.`,
    'pipeline',
    { details: { bytes, most: MOST_INPUT } },
  );
}

/** What ends a batch: errors of our own and of activities. Any other is a defect, and the batch goes on once that is mended. */
function isOwn(thrown: unknown): boolean {
  return !isCancellation(thrown) && !(thrown instanceof ContinueAsNew) && (isCheckpointError(thrown) || thrown instanceof TemporalFailure);
}

/** How a child ended that gave no result. */
function endingOf(thrown: unknown, id: string): Ending {
  if (isCancellation(thrown)) return { status: 'cancelled', outputs: [], error: null };
  if (thrown instanceof WorkflowExecutionAlreadyStartedError) {
    const message = `A run with the id ${id} is going on, of an earlier batch with the same id. Wait for its end or cancel it, then \`ckpt batch retry\`.`;
    return { status: 'failed', outputs: [], error: { type: 'CheckpointError', message, details: {} } };
  }
  const cause = thrown instanceof ChildWorkflowFailure ? thrown.cause : thrown;
  return { status: 'failed', outputs: [], error: reportOfFailure(cause ?? thrown) };
}

function listChanged(next: number, total: number): ErrorReport {
  const message = `The list of items ends at ${next} of ${total}: the workspace does not hold what was listed.`;
  return { type: 'CheckpointError', message, details: {} };
}
