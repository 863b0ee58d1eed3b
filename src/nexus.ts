/**
 * The Nexus service that workers of this project offer, for workflows of other namespaces: `checkpoint-pipeline/nexus`.
 *
 * Workflow-safe. Input and result are those of the workflows; a failed operation has the `ApplicationFailure` of the run as its
 * cause, with `type` and `details`, and cancelling an operation cancels the run.
 */
import { operation, service } from 'nexus-rpc';
import type { BatchInput, BatchResult } from './pipeline/batch.ts';
import type { PipelineInput, PipelineResult } from './pipeline/contract.ts';

export const checkpointService = service('checkpoint', {
  /** A pipeline over one checkpoint. */
  runPipeline: operation<PipelineInput, PipelineResult>(),
  /** One pipeline for each of many checkpoints. */
  runBatch: operation<BatchInput, BatchResult>(),
});

export type { BatchInput, BatchResult, PipelineInput, PipelineResult };
