/**
 * What a plug-in imports, as `checkpoint-pipeline/plugin`: define a stage, change a plan, raise our errors, describe options.
 *
 * The schema library comes along, so that a plug-in's options are of the same copy as the worker's.
 */
export { z } from 'zod';
export { defineStage, type StageCall, type StageDefinition, type StageOutcome } from '../activities/stage.ts';
export { modifyPlan, type Modified } from '../activities/modify-plan.ts';
export { compileGlob } from './transform/patterns.ts';
export { dtypeKind, type Dtype } from './model/dtype.ts';
export type { CheckpointContext } from './model/context.ts';
export type { Header } from './model/header.ts';
export type { Plan, PlannedTensor } from './model/plan.ts';
export type { Target } from './model/target.ts';
export {
  CheckpointConfigError,
  CheckpointError,
  CheckpointIncompatibleError,
  CheckpointLoadError,
  CheckpointNotFoundError,
  CheckpointSourceError,
  CheckpointTimeoutError,
  CheckpointValidationError,
} from './errors.ts';
