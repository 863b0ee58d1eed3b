/** The Nexus service of a worker: each operation is a run, started as any other client would. */
import { getClient, startWorkflow, WorkflowRunOperationHandler } from '@temporalio/nexus';
import { serviceHandler, type ServiceHandler, type StartOperationContext } from 'nexus-rpc';
import { isCheckpointError } from '../errors.ts';
import { checkpointService, type BatchInput, type BatchResult, type PipelineInput, type PipelineResult } from '../nexus.ts';
import { BATCH_WORKFLOW } from '../pipeline/batch.ts';
import { PIPELINE_WORKFLOW } from '../pipeline/contract.ts';
import { knownAttributes, startOptions, type StartOptions, type Work } from './start.ts';

type Outcome<Kind extends Work['kind']> = Kind extends 'pipeline' ? PipelineResult : BatchResult;

export function checkpointHandler(): ServiceHandler<typeof checkpointService.operations> {
  return serviceHandler(checkpointService, {
    runPipeline: new WorkflowRunOperationHandler((context, input: PipelineInput) => run(context, { kind: 'pipeline', input })),
    runBatch: new WorkflowRunOperationHandler((context, input: BatchInput) => run(context, { kind: 'batch', input })),
  });
}

async function run<W extends Work>(context: StartOperationContext, work: W) {
  const { workflowType, ...options } = await optionsOf(work);
  return startWorkflow<(input: PipelineInput | BatchInput) => Promise<Outcome<W['kind']>>>(context, workflowType, {
    ...options,
    // The same for every attempt of one operation.
    workflowId: `${work.input.name ?? work.kind}-${context.requestId}`,
  });
}

/** What is wrong with an input the workflow itself says, in the words that every client gets. */
async function optionsOf(work: Work): Promise<Pick<StartOptions, 'workflowType' | 'args'> & Partial<StartOptions>> {
  try {
    return startOptions(work, (await knownAttributes(getClient()))?.present ?? []);
  } catch (error) {
    if (!isCheckpointError(error)) throw error;
    return { workflowType: work.kind === 'pipeline' ? PIPELINE_WORKFLOW : BATCH_WORKFLOW, args: [work.input] };
  }
}
