/** What is seen of a batch from outside: the server knows what it is retrying, and which runs of its items wait for an answer. */
import type { Client, WorkflowExecutionDescription } from '@temporalio/client';
import type { BatchProgress, Retrying } from '../pipeline/batch.ts';
import { presentAttributes } from '../pipeline/search-attributes.ts';

/** Characters of a failure that are shown. */
const MOST_ERROR = 300;
const MOST_IDS = 10;
/** Milliseconds: whoever asks how a batch stands does not wait longer for what is told beside it. */
const DEADLINE = 5000;

/** Of several, what has failed most often. */
export function retryingOf({ raw }: Pick<WorkflowExecutionDescription, 'raw'>): Retrying | null {
  const [first] = (raw.pendingActivities ?? [])
    .filter(({ attempt, lastFailure }) => (attempt ?? 1) > 1 && lastFailure != null)
    .toSorted((a, b) => (b.attempt ?? 1) - (a.attempt ?? 1));
  if (first === undefined) return null;
  const message = first.lastFailure?.message ?? '';
  const error = message.length > MOST_ERROR ? `${message.slice(0, MOST_ERROR)}…` : message;
  return { activity: first.activityType?.name ?? '', attempt: first.attempt ?? 1, error };
}

/** Null where nobody knows: mostly the server has no search attributes to find them by. */
export async function waitingOf(client: Client, batch: string): Promise<BatchProgress['waiting']> {
  // As the runs have it, perhaps cut.
  const [[, value]] = presentAttributes({ CheckpointBatch: batch }, ['CheckpointBatch']) as [[string, string]];
  // Servers do not find these, however they are escaped.
  if (/["\\]/.test(value)) return null;
  const query = `CheckpointBatch = '${value.replaceAll("'", "''")}' AND CheckpointStatus = 'waiting' AND ExecutionStatus = 'Running'`;
  try {
    return await client.withDeadline(Date.now() + DEADLINE, async () => {
      const { count } = await client.workflow.count(query);
      const ids: string[] = [];
      if (count > 0)
        for await (const { workflowId } of client.workflow.list({ query, pageSize: MOST_IDS })) {
          ids.push(workflowId);
          if (ids.length === MOST_IDS) break;
        }
      return { count, ids };
    });
  } catch {
    // Told beside the rest, which is not to fail for it.
    return null;
  }
}
