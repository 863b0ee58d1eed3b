/** The least a workflow of so many activities can do, with the timeouts and retries the pipeline gives its own. */
import { ActivityCancellationType, executeChild, proxyActivities, workflowInfo } from '@temporalio/workflow';

type Activities = Record<'noop', (input: { readonly index: number }) => Promise<{ readonly index: number }>>;

export async function noopPipeline(activities: number): Promise<number> {
  const { noop } = proxyActivities<Activities>({
    startToCloseTimeout: '300s',
    heartbeatTimeout: '10s',
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumAttempts: 3 },
  });
  let last = -1;
  for (let index = 0; index < activities; index++) last = (await noop({ index })).index;
  return last + 1;
}

/** The least a window of such children can do. */
export async function noopBatch(items: number, window: number, activities: number): Promise<number> {
  const { workflowId } = workflowInfo();
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items) await executeChild(noopPipeline, { workflowId: `${workflowId}/${next++}`, args: [activities] });
  };
  await Promise.all(Array.from({ length: window }, lane));
  return next;
}
