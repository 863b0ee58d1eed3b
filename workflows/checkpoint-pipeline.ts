/**
 * The pipeline as a durable loop: one activity per stage, in order, each on what the one before it handed on.
 *
 * Invariant: the stage history, the context and the outcome live here and nowhere else, so that a run survives the loss of
 * any worker; nothing that fails or is cancelled leaves a partial output behind.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  defineQuery,
  isCancellation,
  setCurrentDetails,
  setHandler,
  TimeoutFailure,
  workflowInfo,
} from '@temporalio/workflow';
import { CheckpointLoadError, isCheckpointError, type ErrorReport, type JsonObject } from '../src/errors.ts';
import { EMPTY_CONTEXT, type CheckpointContext } from '../src/model/context.ts';
import {
  STATUS_QUERY,
  type PipelineInput,
  type PipelineResult,
  type RunStatus,
  type StageInput,
  type StageRecord,
} from '../src/pipeline/contract.ts';
import { adviseComposition, compositionRecord } from '../src/pipeline/composition.ts';
import { checkDocument, optionsOf } from '../src/pipeline/document.ts';
import { historyTable, newHistory, stageDetails, stageKey, withRecord, withStageDetails } from '../src/pipeline/history.ts';
import { discardStage, runStage } from './proxies.ts';

const statusQuery = defineQuery<PipelineResult>(STATUS_QUERY);

export async function checkpointPipeline(document: PipelineInput): Promise<PipelineResult> {
  const { workflowId, runId } = workflowInfo();
  let history: readonly StageRecord[] = [];
  let context: CheckpointContext = EMPTY_CONTEXT;
  let status: RunStatus = 'running';
  let error: ErrorReport | null = null;
  const result = (): PipelineResult => ({
    workflow_id: workflowId,
    run_id: runId,
    status,
    stages: history,
    outputs: context.outputs,
    metadata: context.metadata as JsonObject,
    error,
  });
  const record = (index: number, change: Partial<StageRecord>): void => {
    history = withRecord(history, index, change);
    setCurrentDetails(historyTable(history));
  };
  const fail = (report: ErrorReport): ApplicationFailure => {
    status = 'failed';
    error = report;
    // The second detail is the whole result, so that a client without a worker still gets the stage table.
    return ApplicationFailure.create({
      message: report.message,
      type: report.type,
      nonRetryable: true,
      details: [report.details, result()],
    });
  };
  setHandler(statusQuery, result, { description: 'stage history, outputs and metadata of the run' });

  let input: PipelineInput;
  try {
    input = checkDocument(document);
  } catch (thrown) {
    if (isCheckpointError(thrown)) throw fail(thrown.toJSON());
    throw thrown;
  }
  history = newHistory(input);
  const advice = compositionRecord(adviseComposition(input.stages));
  if (advice.length > 0) context = { ...context, metadata: { composition: advice } };

  for (const [index, stage] of input.stages.entries()) {
    const call: StageInput = {
      context,
      options: optionsOf(stage),
      stage: { index, type: stage.type },
      run: { workflowId, runId, workspace: input.workspace ?? null },
    };
    record(index, { status: 'running' });
    try {
      const done = await runStage(input, stage, stageSummary(stage, history[index - 1]), call);
      context = { ...done.context, metadata: { ...done.context.metadata, [stageKey(index, stage.type)]: 'completed' } };
      record(index, { status: 'completed', attempts: done.attempt, summary: done.summary });
    } catch (thrown) {
      if (stage.type.startsWith('sink.')) await CancellationScope.nonCancellable(() => discardStage(stage, call)).catch(() => undefined);
      if (isCancellation(thrown)) {
        status = 'cancelled';
        record(index, { status: 'cancelled' });
        throw thrown;
      }
      const attempts = attemptsOf(thrown, stage.max_retries ?? input.max_retries ?? 3);
      const report = withStageDetails(reportOfFailure(thrown), { ...stageDetails(index, stage.type, input.stages.length), attempts });
      record(index, { status: 'failed', attempts, error: report });
      context = { ...context, metadata: { ...context.metadata, [stageKey(index, stage.type)]: `failed: ${report.message}` } };
      if (!(stage.continue_on_error ?? input.continue_on_error ?? false)) throw fail(report);
    }
  }

  const sources = input.stages.some((stage) => stage.type.startsWith('source.'));
  const wantsWeights = input.stages.some((stage) => stage.type.startsWith('loader.') || stage.type.startsWith('sink.'));
  if (sources && wantsWeights && !context.weightsLoaded) {
    const message =
      'The pipeline ended, but no loader put a single tensor into the plan: nothing was loaded. Look at the failed stages above.';
    throw fail(new CheckpointLoadError(message, context.source?.uri ?? null, { details: { reason: 'weights_never_loaded' } }).toJSON());
  }
  status = context.outputs.length > 0 && context.outputs.every((output) => output.unchanged) ? 'unchanged' : 'completed';
  return result();
}

/** What the UI shows beside the activity: its type is there already, so this says what it works on. */
function stageSummary(stage: PipelineInput['stages'][number], before: StageRecord | undefined): string {
  const place = stage['path'] ?? stage['uri'] ?? stage['url'];
  const object = typeof place === 'string' ? (place.split('/').at(-1) ?? place) : (before?.summary ?? stage.type);
  return object.slice(0, 60);
}

/** The domain error inside an activity failure, as it was thrown on the worker. */
function reportOfFailure(thrown: unknown): ErrorReport {
  const cause = thrown instanceof ActivityFailure ? thrown.cause : thrown;
  if (cause instanceof ApplicationFailure) {
    return { type: cause.type ?? 'CheckpointError', message: cause.message, details: (cause.details?.[0] as JsonObject | undefined) ?? {} };
  }
  if (cause instanceof TimeoutFailure) {
    return {
      type: 'CheckpointTimeoutError',
      message: `No attempt of the stage finished in time (${cause.timeoutType ?? 'timeout'}). Is a worker running? A larger \`timeout\` may help.`,
      details: { operation: 'stage', timeout_type: cause.timeoutType ?? null },
    };
  }
  return { type: 'CheckpointError', message: cause instanceof Error ? cause.message : String(cause), details: {} };
}

function attemptsOf(thrown: unknown, most: number): number {
  const cause = thrown instanceof ActivityFailure ? thrown.cause : undefined;
  const detail = cause instanceof ApplicationFailure ? (cause.details?.[1] as { attempt?: number } | undefined) : undefined;
  return detail?.attempt ?? most;
}
