/**
 * The pipeline as a durable loop: one activity per stage, in order, each on what the one before it handed on.
 *
 * Invariant: the stage history, the context and the outcome live here and nowhere else, so that a run survives the loss of
 * any worker; nothing that fails or is cancelled leaves a partial output behind.
 */
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  isCancellation,
  metricMeter,
  patched,
  setCurrentDetails,
  setHandler,
  upsertMemo,
  workflowInfo,
} from '@temporalio/workflow';
import { CheckpointLoadError, isCheckpointError, OUT_OF_MEMORY, WORKER_STOPPED, type ErrorReport, type JsonObject } from '../src/errors.ts';
import { EMPTY_CONTEXT, type CheckpointContext } from '../src/model/context.ts';
import { withWarnings } from '../src/model/warnings.ts';
import { suggestionFor } from '../src/pipeline/advice.ts';
import { boundedDetails } from '../src/pipeline/bounded.ts';
import { advise, compositionRecord } from '../src/pipeline/composition.ts';
import {
  RESULT_MEMO,
  type Need,
  type PipelineInput,
  type PipelineResult,
  type RunStatus,
  type StageInput,
  type StageRecord,
  type StageSpec,
  type Waiting,
} from '../src/pipeline/contract.ts';
import { checkDocument, optionsOf } from '../src/pipeline/document.ts';
import { healthIssues, healthRecord } from '../src/pipeline/health.ts';
import {
  failedText,
  historyTable,
  namedByStage,
  newHistory,
  stageDetails,
  stageKey,
  withRecord,
  withStageDetails,
  withTry,
  withTryEnd,
} from '../src/pipeline/history.ts';
import { METRICS } from '../src/pipeline/metrics.ts';
import { unmetNeeds, unmetReport, usualNeeds } from '../src/pipeline/needs.ts';
import { fittedResult } from '../src/pipeline/payload.ts';
import { onErrorOf, policyOf, stallOf } from '../src/pipeline/policy.ts';
import { fatalProblems, preflightInput, preflightRecord, preflightReport } from '../src/pipeline/preflight.ts';
import { runAttributes } from '../src/pipeline/search-attributes.ts';
import { stageAim } from '../src/pipeline/stage-aim.ts';
import { isLoader, isSink, isSource } from '../src/pipeline/stage-kinds.ts';
import { knownAttributes, setAttributes } from './attributes.ts';
import { attemptsOf, failureOf, reportOfFailure } from './failures.ts';
import { statusQuery, takeQuestions } from './messages.ts';
import { discardStage, leaveReports, preflight, runStage } from './proxies.ts';

const ASYNCHRONOUS = '`async_execution` is accepted and changes nothing: whoever starts a run may wait for it or not.';

/** The change after which no run goes on (`continue`) behind a stage whose worker was stopped. */
const STOPS_ARE_OF_MACHINES = 'stops-are-of-machines';

/** Characters of JSON: payloads are refused at 2 MiB. */
const MOST_SENT_TWICE = 128 * 1024;

/** Fails the run with the report. */
class Failed extends Error {
  readonly report: ErrorReport;
  constructor(report: ErrorReport) {
    super(report.message);
    this.report = report;
  }
}

export async function checkpointPipeline(document: PipelineInput): Promise<PipelineResult> {
  const info = workflowInfo();
  const { workflowId, runId } = info;
  const known = knownAttributes(info);
  let input: PipelineInput = { stages: [] };
  let history: readonly StageRecord[] = [];
  let context: CheckpointContext = EMPTY_CONTEXT;
  let status: RunStatus = 'running';
  let error: ErrorReport | null = null;
  let needs: readonly (readonly Need[])[] = [];
  let queues: readonly (string | null)[] = [];
  /** Index of the stage that the run stands at. */
  let at: number | null = null;

  const result = (): PipelineResult =>
    fittedResult({
      workflow_id: workflowId,
      run_id: runId,
      status,
      stages: history,
      outputs: context.outputs,
      metadata: context.metadata as JsonObject,
      error,
      waiting: questions.open(),
    });
  const show = (): void => setCurrentDetails(historyTable(history, questions.open()));
  const questions = takeQuestions(show);
  setHandler(statusQuery, result, { description: 'stage history, outputs and metadata of the run' });

  const record = (index: number, change: Partial<StageRecord>): void => {
    history = withRecord(history, index, change);
    show();
  };
  const note = (metadata: JsonObject): void => {
    context = { ...context, metadata: { ...context.metadata, ...metadata } };
  };
  const stand = (now: RunStatus): void => {
    status = now;
    setAttributes(runAttributes(now, at === null ? null : history[at]!.type, context), known);
  };
  const end = (now: RunStatus): void => {
    note(healthRecord(healthIssues(history, context.metadata as JsonObject, context.weightsLoaded)));
    stand(now);
    metricMeter.createCounter(METRICS.checkpoints, 'runs', 'runs that have ended').add(1, { status: now });
    if (now === 'failed') metricMeter.createCounter(METRICS.failures, 'runs', 'runs that have failed').add(1, { code: error?.type ?? '' });
  };
  /** The stage has failed for good: its changes are dropped, and its record and the run's say why. */
  const stageFailed = (index: number, report: ErrorReport, text = report.message): void => {
    record(index, { status: 'failed', error: report });
    note({ [stageKey(index, history[index]!.type)]: failedText(text) });
  };
  const placed = (index: number, report: ErrorReport, attempts: number): ErrorReport => {
    const place = stageDetails(index, history[index]!.type, history.length);
    return withStageDetails(namedByStage(report, place.pipeline_stage), {
      ...place,
      pipeline_stage_type: history[index]!.type,
      attempts,
      suggestion: suggestionFor(report),
    });
  };

  async function checkBefore(): Promise<void> {
    let found;
    try {
      found = await preflight(preflightInput(input));
    } catch (thrown) {
      if (isCancellation(thrown)) throw thrown;
      // A check that breaks is no reason not to run.
      return note({ validation_performed: false, validation_error: reportOfFailure(thrown).message.slice(0, 300) });
    }
    needs = found.needs;
    queues = found.queues ?? [];
    const fatal = fatalProblems(input, found);
    note(preflightRecord(found, fatal));
    if (fatal.length === 0) return;
    for (const { stage, error: report } of fatal) if (stage !== null) stageFailed(stage, placed(stage, report, 0));
    const first = fatal.find(({ stage }) => stage !== null)?.stage ?? null;
    const report = preflightReport(fatal);
    at = first;
    throw new Failed(
      first === null || fatal.length > 1
        ? { ...report, details: { ...report.details, suggestion: suggestionFor(report) } }
        : placed(first, report, 0),
    );
  }

  /** One stage to its end, with as many tries as somebody asks for. */
  async function settle(index: number, given: StageSpec): Promise<void> {
    const missing = unmetNeeds(context, needs[index] ?? usualNeeds(given.type));
    if (missing.length > 0) {
      const report = placed(index, unmetReport(given.type, missing), 0);
      stageFailed(index, report, `requires ${missing.join(', ')}`);
      // No answer could mend it, so nobody is asked.
      if (onErrorOf(input, given) === 'fail') throw new Failed(report);
      return;
    }
    let stage = given;
    let changed: JsonObject | null = null;
    for (;;) {
      const stall = stallOf(input, stage);
      const call: StageInput = {
        context,
        options: optionsOf(stage),
        stage: { index, type: stage.type },
        ...(stall === undefined ? {} : { stall }),
        run: { workflowId, runId, workspace: input.workspace ?? null },
        ...wholePipeline(input, history, index, stage),
      };
      history = withTry(history, index, now(), changed);
      show();
      try {
        const done = await runStage(
          input,
          stage,
          { summary: stageAim(stage, context, history.slice(0, index)), queue: queues[index] ?? null },
          call,
        );
        context = done.context;
        note({ [stageKey(index, stage.type)]: 'completed' });
        const ended = {
          now: now(),
          outcome: 'completed',
          summary: done.summary,
          attempts: done.attempt,
          listed: done.attempts ?? [],
        } as const;
        history = withTryEnd(history, index, ended);
        return record(index, { status: 'completed', summary: done.summary, error: null });
      } catch (thrown) {
        if (isSink(stage.type)) await CancellationScope.nonCancellable(() => discardStage(stage, call)).catch(leftBehind(index));
        if (isCancellation(thrown)) throw thrown;
        const attempts = attemptsOf(thrown, policyOf(input, stage).maximumAttempts);
        const report = placed(index, reportOfFailure(thrown), attempts.count);
        const ended = {
          now: now(),
          outcome: 'failed',
          summary: report.message,
          attempts: attempts.count,
          listed: attempts.listed,
        } as const;
        history = withTryEnd(history, index, ended);
        // It says nothing of the stage: it leaves no key, and nobody goes on after it.
        const { reason } = report.details;
        const ofMachine = reason === OUT_OF_MEMORY || (reason === WORKER_STOPPED && patched(STOPS_ARE_OF_MACHINES));
        if (ofMachine) record(index, { status: 'failed', error: report });
        else stageFailed(index, report);
        const next = onErrorOf(input, stage);
        if (next === 'continue' && ofMachine) throw new Failed(report);
        if (next === 'continue') return;
        if (next === 'fail') throw new Failed(report);
        const answer = await ask(index, stage, report);
        if (answer.action === 'abort') throw new Failed({ ...report, details: { ...report.details, resolution: 'abort' } });
        if (answer.action === 'skip') return record(index, { status: 'skipped' });
        ({ stage, changed } = answer);
      }
    }
  }

  /** What could not be cleared up is somebody's to remove: the run says so. */
  function leftBehind(index: number): (thrown: unknown) => void {
    return (thrown) => {
      const { message } = reportOfFailure(thrown);
      const text = `${history[index]!.type} has perhaps left a partial output behind, as clearing up failed: ${message}`;
      note({ warnings: withWarnings(context.metadata, [text.slice(0, 500)]) });
    };
  }

  async function ask(index: number, stage: StageSpec, report: ErrorReport): Promise<Awaited<ReturnType<typeof questions.ask>>> {
    record(index, { status: 'waiting' });
    stand('waiting');
    const waiting: Waiting = {
      stage: { index, type: stage.type },
      error: report,
      since: now(),
      options: ['retry', 'skip', 'abort'],
      refused: null,
    };
    const answer = await questions.ask(stage, waiting);
    record(index, { status: answer.action === 'retry' ? 'running' : 'failed' });
    stand('running');
    return answer;
  }

  /** What was asked for is done, so nothing that happens to a report is the run's failure, nor a cancellation that comes now its end. */
  async function report(): Promise<void> {
    try {
      const records = { result: result(), context, document: boundedDetails(input), workspace: input.workspace ?? null };
      const { reports } = await CancellationScope.nonCancellable(() => leaveReports(records));
      context = { ...context, outputs: context.outputs.map((output, index) => ({ ...output, report: reports[index]! })) };
    } catch (thrown) {
      note({ report_error: reportOfFailure(thrown).message.slice(0, 300) });
    }
  }

  try {
    input = checkDocument(document);
    history = newHistory(input);
    const advice = compositionRecord(advise(input.stages));
    if (advice.length > 0) note({ composition: advice });
    if (input.async_execution !== undefined) note({ notes: [ASYNCHRONOUS] });
    await checkBefore();
    for (const [index, stage] of input.stages.entries()) {
      at = index;
      await settle(index, stage);
    }
    checkLoaded(input, context);
    end(context.outputs.length > 0 && context.outputs.every((output) => output.unchanged) ? 'unchanged' : 'completed');
    if (input.report === true && context.outputs.length > 0) await report();
    // What is published is published: a cancellation that comes now comes too late.
    await handlersFinished();
    return result();
  } catch (thrown) {
    if (isCancellation(thrown)) {
      if (at !== null && ['running', 'waiting'].includes(history[at]!.status)) {
        history = withTryEnd(history, at, { now: now(), outcome: 'cancelled', summary: null, attempts: 0, listed: [] });
        record(at, { status: 'cancelled' });
      }
      end('cancelled');
      upsertMemo({ [RESULT_MEMO]: result() });
      await handlersFinished();
      throw thrown;
    }
    if (!(thrown instanceof Failed) && !isCheckpointError(thrown)) throw thrown;
    const report = thrown instanceof Failed ? thrown.report : thrown.toJSON();
    error = { ...report, details: { ...report.details, suggestion: report.details['suggestion'] ?? suggestionFor(report) } };
    end('failed');
    await handlersFinished();
    // The second detail is the whole result, so that a client without a worker still gets the stage table.
    throw failureOf(error, result());
  }
}

/** What somebody has asked the run is answered before it ends, whatever ends it. */
async function handlersFinished(): Promise<void> {
  if (!allHandlersFinished()) await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
}

/** For the manifest: all stages, where the output of the last one follows from them. Long documents are not sent twice. */
function wholePipeline(
  input: PipelineInput,
  history: readonly StageRecord[],
  index: number,
  stage: StageSpec,
): Pick<StageInput, 'pipeline'> {
  const asWritten = history
    .slice(0, index)
    .every(({ status, tries }) => status === 'completed' && tries.every(({ changed }) => changed === null));
  const last = index === input.stages.length - 1 && stage === input.stages[index] && isSink(stage.type);
  if (!asWritten || !last) return {};
  const pipeline = input.stages.map((each) => ({ type: each.type, options: optionsOf(each) }));
  return JSON.stringify(pipeline).length > MOST_SENT_TWICE ? {} : { pipeline };
}

/** Never "loaded" when nothing was. */
function checkLoaded({ stages }: PipelineInput, { weightsLoaded, source }: CheckpointContext): void {
  const sources = stages.some(({ type }) => isSource(type));
  const wantsWeights = stages.some(({ type }) => isLoader(type) || isSink(type));
  if (!sources || !wantsWeights || weightsLoaded) return;
  const message =
    'The pipeline ended, but no loader put a single tensor into the plan: nothing was loaded. Look at the failed stages above.';
  throw new CheckpointLoadError(message, source?.uri ?? null, { details: { reason: 'weights_never_loaded' } });
}

/** The workflow's own time, the same whenever it is replayed. */
function now(): string {
  return new Date().toISOString();
}
