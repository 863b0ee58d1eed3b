/**
 * The library's surface: `import { CheckpointClient } from 'checkpoint-pipeline'`.
 *
 * It starts and watches runs that `ckpt worker` works on; it loads neither a worker nor a storage SDK.
 */
export { CheckpointClient, type ClientSettings, type ClientSource } from './app/client.ts';
export type { CheckpointBatches } from './app/batch-client.ts';
export type { AppliedSchedule, Backfilled, BackfillRange, CheckpointSchedules, Triggered } from './app/schedule-client.ts';
export type { StartSettings } from './app/runs.ts';
export type { Run, StartedRun } from './app/start.ts';
export type { WatchOptions } from './app/watch.ts';
export { checkDocument } from './pipeline/document.ts';
export type {
  AttemptRecord,
  OnError,
  PipelineInput,
  PipelineProgress,
  PipelineResult,
  Resolution,
  Resolved,
  Paused,
  Retrying,
  RetrySpec,
  RunStatus,
  StageRecord,
  StageSpec,
  StageStatus,
  StageTry,
  TransferProgress,
  Waiting,
} from './pipeline/contract.ts';
export type {
  BatchInput,
  BatchItems,
  BatchProgress,
  BatchResult,
  BatchStatus,
  Failure,
  ItemStatus,
  Outcome,
  OutcomeStatus,
} from './pipeline/batch.ts';
export type { Overlap, ScheduleChange, ScheduledRun, ScheduleEntry, ScheduleInput, ScheduleState, Timing } from './pipeline/schedule.ts';
export type { Output } from './model/context.ts';
export {
  CheckpointConfigError,
  CheckpointError,
  CheckpointIncompatibleError,
  CheckpointLoadError,
  CheckpointNotFoundError,
  CheckpointSourceError,
  CheckpointTimeoutError,
  CheckpointValidationError,
  ERROR_CODES,
  isCheckpointError,
  type ErrorCode,
  type ErrorReport,
  type Json,
  type JsonObject,
} from './errors.ts';
