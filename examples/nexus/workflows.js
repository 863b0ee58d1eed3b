/** A workflow of another team and namespace that has its checkpoints made ready by ours. */
import { NexusOperationFailure } from '@temporalio/common';
import { createNexusServiceClient, isCancellation } from '@temporalio/workflow';
import { checkpointService } from 'checkpoint-pipeline/nexus';

const checkpoints = createNexusServiceClient({ service: checkpointService, endpoint: 'checkpoints' });

/** Publishes what a training has left behind; what is wrong with it is an answer, not an end. */
export async function publishTraining(pipeline) {
  try {
    const { status, outputs } = await checkpoints.executeOperation('runPipeline', pipeline, { scheduleToCloseTimeout: '1 day' });
    return { status, uris: outputs.map(({ uri }) => uri) };
  } catch (error) {
    if (isCancellation(error) || !(error instanceof NexusOperationFailure)) throw error;
    // What the run has failed with: its type is one of the error codes in docs/failures.md.
    const { type, message, details } = error.cause;
    return { status: 'failed', type, message, stage: details[0].pipeline_stage_type };
  }
}

/** The same for many. */
export async function publishAll(batch) {
  const { total, completed, failed, failures } = await checkpoints.executeOperation('runBatch', batch, { scheduleToCloseTimeout: '1 day' });
  return { total, completed, failed, codes: failures.map(({ code }) => code) };
}
