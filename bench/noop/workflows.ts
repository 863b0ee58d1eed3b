/** The least a workflow of so many stages can do: a local activity as the preflight is, and an activity for each, with the pipeline's timeouts and retries. */
import { ActivityCancellationType, executeChild, proxyActivities, proxyLocalActivities, workflowInfo } from '@temporalio/workflow';

type Activities = Record<'noop', (input: { readonly index: number }) => Promise<{ readonly index: number }>>;

export async function noopPipeline(stages: number): Promise<number> {
  const here = proxyLocalActivities<Activities>({ startToCloseTimeout: '2s', retry: { maximumAttempts: 1 } });
  const { noop } = proxyActivities<Activities>({
    startToCloseTimeout: '300s',
    heartbeatTimeout: '10s',
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumAttempts: 3 },
  });
  let { index: last } = await here.noop({ index: -1 });
  for (let index = 0; index < stages; index++) last = (await noop({ index })).index;
  return last + 1;
}

/** The least a window of such children can do. */
export async function noopBatch(items: number, window: number, stages: number): Promise<number> {
  const { workflowId } = workflowInfo();
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items) await executeChild(noopPipeline, { workflowId: `${workflowId}/${next++}`, args: [stages] });
  };
  await Promise.all(Array.from({ length: window }, lane));
  return next;
}
