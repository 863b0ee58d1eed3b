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
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  defineQuery,
  defineSignal,
  isCancellation,
  setCurrentDetails,
  setHandler,
  upsertMemo,
  workflowInfo,
} from '@temporalio/workflow';
import type { ErrorReport, JsonObject } from '../src/errors.ts';
import { isMapping } from '../src/model/json.ts';
import { batchDetails } from '../src/pipeline/batch-details.ts';
import { checkBatchId } from '../src/pipeline/batch-document.ts';
import {
  borne,
  briefReport,
  LIST_ACTIVITY,
  NO_TOTALS,
  paceOf,
  PAUSE_SIGNAL,
  RECORD_ACTIVITY,
  RESUME_SIGNAL,
  withOutcome,
  type BatchCarry,
  type BatchInput,
  type BatchResult,
  type BatchStatus,
  type ContinuedBatch,
} from '../src/pipeline/batch.ts';
import { boundedDetails } from '../src/pipeline/bounded.ts';
import { RESULT_MEMO, STATUS_QUERY } from '../src/pipeline/contract.ts';
import { knownAttributes, setAttributes } from './attributes.ts';
import { childrenOf, type Settle } from './batch-children.ts';
import { documentOf } from './batch-inputs.ts';
import { openLedger } from './batch-ledger.ts';
import { openList } from './batch-list.ts';
import { leaveReport, placeResults } from './batch-results.ts';
import { walk } from './batch-walk.ts';
import { failureOf, isOwn, reportOfFailure } from './failures.ts';
import { files, listing, placing, placingSoon } from './proxies.ts';

const statusQuery = defineQuery<BatchResult>(STATUS_QUERY);
const pauseSignal = defineSignal(PAUSE_SIGNAL);
const resumeSignal = defineSignal(RESUME_SIGNAL);

export async function checkpointBatch(input: BatchInput | ContinuedBatch): Promise<BatchResult> {
  const info = workflowInfo();
  const { workflowId } = info;
  const { given, asked } = handedOver(input, info.continuedFromExecutionRunId !== undefined);
  // Not looked at yet: what else it may be ends the batch in words, below.
  const document: Partial<BatchInput> = isMapping(asked) ? asked : {};
  const workspace = document.pipeline?.workspace ?? null;
  const known = knownAttributes(info);
  const since = given?.since ?? Date.now();
  let status: BatchStatus = 'listing';
  let paused = given?.paused ?? false;
  let totals = given?.totals ?? NO_TOTALS;
  let results: string | null = null;
  let reported: Pick<BatchResult, 'report' | 'report_error'> = {};
  let error: ErrorReport | null = null;

  const list = openList(given);
  const ledger = openLedger(
    // There is a list before there is an outcome.
    (previous, outcomes) => files[RECORD_ACTIVITY]({ workspace, index: list.index()!, previous, outcomes }),
    given?.part ?? null,
  );
  const settle: Settle = (place, name, child, ending) => {
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
  const children = childrenOf({ workflowId, known, settle });

  const stands = (): BatchStatus => (status === 'running' && paused ? 'paused' : status);
  const result = (): BatchResult => ({
    workflow_id: workflowId,
    status: stands(),
    total: list.total(),
    completed: totals.completed,
    unchanged: totals.unchanged,
    failed: totals.failed,
    cancelled: totals.cancelled,
    running: children.running(),
    results,
    ...reported,
    failures: totals.failures,
    failures_by_code: totals.codes,
    ...paceOf({ ...totals, status: stands(), total: list.total() }, Date.now() - since),
    error,
  });
  setHandler(statusQuery, result, { description: 'totals, rate, time left and the last failures of the batch' });
  setHandler(pauseSignal, () => void (paused = true), { description: 'start no more items' });
  setHandler(resumeSignal, () => void (paused = false), { description: 'go on after a pause' });

  /** Begins items and waits for their ends. */
  async function run(input: BatchInput): Promise<void> {
    const { items, pipeline } = input;
    if (given === undefined) list.useList(await listing[LIST_ACTIVITY]({ items, workspace, results: input.results ?? null, pipeline }));
    status = 'running';
    const soFar = () => ({ totals, paused, since });
    return walk(input, { list, children, ledger, settle, workspace, soFar, stopping: () => void (status = 'stopping') });
  }

  const wanted = { workspace, results: document.results ?? null, batch: workflowId, run: info.firstExecutionRunId };
  /** There is a list. Gives why the results could not be put where they were wanted. */
  const finish = async (activities = placing): Promise<ErrorReport | null> => {
    const placed = await placeResults(wanted, list, ledger, activities);
    ({ results } = placed);
    return placed.error;
  };
  const end = async (now: BatchStatus): Promise<void> => {
    status = now;
    setAttributes({ CheckpointStatus: now }, known);
    if (document.report === true && results !== null)
      reported = await leaveReport(wanted, {
        result: result(),
        document: boundedDetails(document as JsonObject),
        runId: info.runId,
        started: new Date(since).toISOString(),
        ended: new Date().toISOString(),
      });
    await condition(allHandlersFinished);
  };

  // A schedule and a Nexus operation start a batch under an id that nobody knows before.
  const isNamed = info.typedSearchAttributes.getAll().some(({ key }) => key.name === 'CheckpointBatch');
  if (!isNamed) setAttributes({ CheckpointBatch: workflowId }, known);

  try {
    let broken: ErrorReport | null = null;
    try {
      // Whatever becomes of this run: what the one before has begun ends here.
      children.adopt(given?.stragglers ?? []);
      checkBatchId(workflowId);
      await run(documentOf(asked));
    } catch (thrown) {
      if (!isOwn(thrown)) throw thrown;
      broken = reportOfFailure(thrown);
      status = 'stopping';
      // What runs is neither left alone nor forgotten.
      await condition(() => children.running() === 0);
    }
    if (list.index() !== null) {
      const unwritten = await finish().catch((thrown: unknown) => (isOwn(thrown) ? reportOfFailure(thrown) : Promise.reject(thrown)));
      broken ??= unwritten;
    }
    error = broken ?? tooManyFailed(document, result(), list.left());
    await end(error === null ? 'completed' : 'failed');
    if (error !== null) throw failureOf(error, result());
    return result();
  } catch (thrown) {
    if (!isCancellation(thrown)) throw thrown;
    await CancellationScope.nonCancellable(async () => {
      status = 'stopping';
      await children.cancelAdopted();
      await condition(() => children.running() === 0);
      if (list.index() !== null) await finish(placingSoon).catch((failed: unknown) => (isOwn(failed) ? undefined : Promise.reject(failed)));
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

/** Null where no more items failed than the document bears. */
function tooManyFailed(document: Partial<BatchInput>, { total, failed, failures, results }: BatchResult, left: number): ErrorReport | null {
  const most = total === 0 ? Infinity : borne(document, total);
  if (failed <= most) return null;
  return {
    type: 'CheckpointError',
    message: `${failed} of ${total} items failed, more than the ${most} that \`max_failures\` or \`continue_on_error\` allow; ${left} were not started.`,
    details: boundedDetails({ failures, results, not_started: left }),
  };
}
