/** Exports workflow functions only: what is named here is a workflow type. */
export { checkpointPipeline } from './checkpoint-pipeline.ts';
export { checkpointBatch } from './checkpoint-batch.ts';
