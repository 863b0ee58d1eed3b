/**
 * A batch as a sliding window of children, one `checkpointPipeline` for each item.
 *
 * Invariant: every item that was started has exactly one outcome, however its child ended; outcomes lie in the workspace, and
 * what this workflow keeps does not grow with their number.
 *
 * When a run has grown long it starts no more children, waits until at most a quarter of the window is still running, and
 * continues as new; children are abandoned rather than closed with their parent, and the next run awaits those by an activity.
 * Signals from the children would cost more events, and one that is terminated would never send any.
 */
import {
  ActivityCancellationType,
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  ChildWorkflowFailure,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  getExternalWorkflowHandle,
  isCancellation,
  ParentClosePolicy,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import type { BatchActivities } from '../activities/batch/index.ts';
import { FINAL_CODES, isCheckpointError, type ErrorReport } from '../src/errors.ts';
import type { BlobReference } from '../src/model/context.ts';
import {
  AWAIT_ACTIVITY,
  borne,
  checkBatch,
  childId,
  endedOf,
  expand,
  FINISH_ACTIVITY,
  handOver,
  LIST_ACTIVITY,
  NO_TOTALS,
  paceOf,
  PAGE_ACTIVITY,
  PART,
  PAUSE_SIGNAL,
  RECORD_ACTIVITY,
  RESUME_SIGNAL,
  windowOf,
  withOutcome,
  type BatchInput,
  type BatchItem,
  type BatchResult,
  type BatchStatus,
  type Ending,
  type Outcome,
  type Straggler,
} from '../src/pipeline/batch.ts';
import { boundedDetails } from '../src/pipeline/bounded.ts';
import { PIPELINE_WORKFLOW, STATUS_QUERY, type PipelineInput, type PipelineResult } from '../src/pipeline/contract.ts';
import { ATTRIBUTES_MEMO } from '../src/pipeline/search-attributes.ts';
import { failureOf, reportOfFailure } from './failures.ts';

const statusQuery = defineQuery<BatchResult>(STATUS_QUERY);
const pauseSignal = defineSignal(PAUSE_SIGNAL);
const resumeSignal = defineSignal(RESUME_SIGNAL);

const FINAL = [...FINAL_CODES, 'NotFoundError'];
/** Batches yield to runs that somebody waits for. */
const PRIORITY = 4;

const retry = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '1m', nonRetryableErrorTypes: FINAL } as const;
const files = proxyActivities<BatchActivities>({
  startToCloseTimeout: '5m',
  retry,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});
const long = proxyActivities<BatchActivities>({
  startToCloseTimeout: '30 days',
  heartbeatTimeout: '30s',
  retry,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});

export async function checkpointBatch(document: BatchInput): Promise<BatchResult> {
  const info = workflowInfo();
  const { workflowId } = info;
  const given = document.carried;
  let status: BatchStatus = 'listing';
  let paused = given?.paused ?? false;
  let totals = given?.totals ?? NO_TOTALS;
  let total = given?.total ?? 0;
  let results: string | null = null;
  let error: ErrorReport | null = null;
  const since = given?.since ?? Date.now();
  /** Children by the index of their item; without a run id where the start is not confirmed. */
  const running = new Map<number, Straggler | null>();
  let part: BlobReference | null = given?.part ?? null;
  let unwritten: Outcome[] = [];

  const result = (): BatchResult => ({
    workflow_id: workflowId,
    status: status === 'running' && paused ? 'paused' : status,
    total,
    completed: totals.completed,
    unchanged: totals.unchanged,
    failed: totals.failed,
    cancelled: totals.cancelled,
    running: running.size,
    results,
    failures: totals.failures,
    failures_by_code: totals.codes,
    ...paceOf(endedOf(totals), total, Date.now() - since),
    error,
  });
  setHandler(statusQuery, result, { description: 'totals, rate, time left and the last failures of the batch' });
  setHandler(pauseSignal, () => void (paused = true), { description: 'start no more items' });
  setHandler(resumeSignal, () => void (paused = false), { description: 'go on after a pause' });

  const workspace = document.pipeline?.workspace ?? null;
  async function write(): Promise<void> {
    while (unwritten.length > 0) {
      const outcomes = unwritten.slice(0, PART);
      unwritten = unwritten.slice(PART);
      part = await files[RECORD_ACTIVITY]({ workspace, previous: part, outcomes });
    }
  }
  /** One writer at a time: parts form a chain. */
  let writing: Promise<void> | null = null;
  const startWriting = (): Promise<void> => (writing ??= CancellationScope.nonCancellable(write).finally(() => (writing = null)));
  const written = async (): Promise<void> => {
    while (writing !== null || unwritten.length > 0) await startWriting();
  };
  const settle = (index: number, item: BatchItem, runId: string | null, ending: Ending): void => {
    const report = ending.error === null ? null : { ...ending.error, message: ending.error.message.slice(0, 2000), details: {} };
    const outcome: Outcome = {
      index,
      item: item.key,
      uri: item.uri,
      columns: item.columns,
      status: ending.status,
      workflow_id: childId(workflowId, index, item),
      run_id: runId,
      outputs: ending.outputs,
      error: report,
    };
    running.delete(index);
    totals = withOutcome(totals, outcome);
    unwritten.push(outcome);
    setCurrentDetails(detailsOf(result()));
    if (unwritten.length < PART) return;
    // Whoever waits for the end awaits it again.
    startWriting().catch(() => undefined);
  };

  async function runChild(input: BatchInput, index: number, item: BatchItem): Promise<void> {
    running.set(index, null);
    let runId: string | null = null;
    try {
      const id = childId(workflowId, index, item);
      const child = await startChild<(document: PipelineInput) => Promise<PipelineResult>>(PIPELINE_WORKFLOW, {
        workflowId: id,
        args: [expand(input.pipeline, item)],
        parentClosePolicy: ParentClosePolicy.ABANDON,
        staticSummary: item.key.slice(-200),
        memo: { [ATTRIBUTES_MEMO]: info.memo?.[ATTRIBUTES_MEMO] ?? [] },
        priority: { priorityKey: PRIORITY, fairnessKey: workflowId.slice(0, 60) },
      });
      runId = child.firstExecutionRunId;
      running.set(index, { index, item, workflowId: id, runId });
      const { status, outputs } = await child.result();
      const done = status === 'unchanged' ? 'unchanged' : 'completed';
      settle(index, item, runId, { status: done, outputs: outputs.map(({ uri }) => uri), error: null });
    } catch (thrown) {
      const cause = thrown instanceof ChildWorkflowFailure ? thrown.cause : thrown;
      if (isCancellation(thrown)) return settle(index, item, runId, { status: 'cancelled', outputs: [], error: null });
      settle(index, item, runId, { status: 'failed', outputs: [], error: reportOfFailure(cause ?? thrown) });
    }
  }

  async function adopt(stragglers: readonly Straggler[]): Promise<void> {
    let left = stragglers;
    while (left.length > 0) {
      const { ended } = await long[AWAIT_ACTIVITY]({ children: left.map(({ workflowId, runId }) => ({ workflowId, runId })) });
      for (const { workflowId: id, ending } of ended) {
        const one = left.find((straggler) => straggler.workflowId === id)!;
        settle(one.index, one.item, one.runId, ending);
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

  async function finish(): Promise<void> {
    await written();
    results = await long[FINISH_ACTIVITY]({
      workspace,
      part,
      results: document.results ?? null,
      batch: workflowId,
      run: info.firstExecutionRunId,
    });
    await condition(allHandlersFinished);
  }

  try {
    const input = checkBatch(document);
    const { index, total: found } = given ?? (await long[LIST_ACTIVITY]({ items: input.items, workspace }));
    total = found;
    status = 'running';
    const window = windowOf(input);
    const most = borne(input, total);
    let { page, offset, next } = given ?? { page: 0, offset: 0, next: 0 };
    const firstOfRun = next;
    let items: readonly BatchItem[] | null = null;
    for (const straggler of given?.stragglers ?? []) running.set(straggler.index, straggler);
    let broken: unknown = null;
    void adopt(given?.stragglers ?? []).catch((thrown: unknown) => (broken = thrown));
    const tooMany = (): boolean => totals.failed > most;
    const longEnough = (): boolean => workflowInfo().continueAsNewSuggested || next - firstOfRun >= (input.continue_after ?? Infinity);

    while (next < total && !tooMany() && !longEnough()) {
      if (items === null || offset >= items.length) {
        if (items !== null) [page, offset] = [page + 1, 0];
        ({ items } = await files[PAGE_ACTIVITY]({ index, page, workspace }));
      }
      await condition(() => broken !== null || tooMany() || (!paused && running.size < window));
      if (broken !== null) throw broken;
      if (tooMany()) break;
      void runChild(input, next++, items[offset++]!);
    }
    if (tooMany()) status = 'stopping';
    const rest = next < total && status === 'running';
    const settled = (): boolean =>
      running.size === 0 || (rest && !tooMany() && [...running.values()].every((one) => one !== null) && running.size <= handOver(window));
    await condition(() => broken !== null || settled());
    if (broken !== null) throw broken;
    if (rest && !tooMany()) {
      // Another child may end between the last part and here: what is not written by now would be lost.
      do await written();
      while (unwritten.length > 0);
      const stragglers = [...running.values()].filter((one) => one !== null);
      // A list has been written down; it does not travel again.
      const items = Array.isArray(input.items) ? [] : input.items;
      await continueAsNew<typeof checkpointBatch>({
        ...input,
        items,
        carried: { index, total, page, offset, next, part, totals, stragglers, paused, since },
      });
    }
    await finish();
    if (!tooMany()) {
      status = 'completed';
      return result();
    }
    status = 'failed';
    const message = `${totals.failed} of ${total} items failed, more than the ${most} that \`max_failures\` or \`continue_on_error\` allow; ${total - next} were not started.`;
    error = {
      type: 'CheckpointError',
      message,
      details: boundedDetails({ failures: totals.failures, results, not_started: total - next }),
    };
    throw failureOf(error, result());
  } catch (thrown) {
    if (isCancellation(thrown)) {
      status = 'cancelled';
      await CancellationScope.nonCancellable(async () => {
        await cancelAdopted();
        await condition(() => running.size === 0);
        await finish();
      });
      throw thrown;
    }
    if (thrown instanceof ApplicationFailure || !(isCheckpointError(thrown) || thrown instanceof Error) || thrown.name === 'ContinueAsNew')
      throw thrown;
    status = 'failed';
    error = reportOfFailure(thrown);
    throw failureOf(error, result());
  }
}

function detailsOf({ total, completed, unchanged, failed, running, rate, seconds_left, failures_by_code, failures }: BatchResult): string {
  const codes = Object.entries(failures_by_code).map(([code, count]) => `- ${code}: ${count}`);
  const last = failures
    .slice(-5)
    .map(({ item, message }) => `- \`${item.replaceAll('`', "'")}\`: ${message.replaceAll(/[`\n<>]/g, ' ').slice(0, 200)}`);
  return [
    `**${completed + unchanged + failed} of ${total}**: ${completed} published, ${unchanged} unchanged, ${failed} failed, ${running} running`,
    ...(rate === null ? [] : [`${rate} items/s, ${seconds_left} s left`]),
    ...(codes.length === 0 ? [] : ['', 'Failures:', ...codes, '', 'The last ones:', ...last]),
  ].join('\n\n');
}
