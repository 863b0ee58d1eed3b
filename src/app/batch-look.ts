/** What is seen of a batch from outside: the server finds the runs of its items that wait for an answer. */
import type { Client } from '@temporalio/client';
import type { BatchProgress } from '../pipeline/batch.ts';
import { presentAttributes } from '../pipeline/search-attributes.ts';

const MOST_IDS = 10;
/** Milliseconds: whoever asks how a batch stands does not wait longer for what is told beside it. */
const DEADLINE = 5000;

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
