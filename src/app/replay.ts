/** Replays a history against the installed workflow code. */
import { DeterminismViolationError } from '@temporalio/workflow';
import { Worker } from '@temporalio/worker';
import { CheckpointLoadError, textOf } from '../errors.ts';
import { installRuntime } from './runtime.ts';
import { WORKFLOW_BUNDLE } from './worker.ts';

/** Null where it takes the same steps; else what differs. `CheckpointLoadError` where it is no history. */
export async function replayHistory(history: unknown, workflowId: string): Promise<string | null> {
  if (!beginsAsHistory(history))
    throw new CheckpointLoadError(`${workflowId} holds no history of a workflow, which begins with the event of its start.`, workflowId);
  installRuntime();
  try {
    await Worker.runReplayHistory({ workflowBundle: { codePath: WORKFLOW_BUNDLE } }, history, workflowId);
    return null;
  } catch (error) {
    // The sentence of it that says what; the rest is of the machinery.
    if (error instanceof DeterminismViolationError) return /Nondeterminism error: ([^"\\]+)/.exec(error.message)?.[1] ?? error.message;
    throw new CheckpointLoadError(`The history in ${workflowId} cannot be replayed: ${textOf(error)}`, workflowId, { cause: error });
  }
}

/** Anything else would be waited on for ever. */
function beginsAsHistory(history: unknown): history is object {
  const events = typeof history === 'object' && history !== null && 'events' in history ? history.events : null;
  if (!Array.isArray(events)) return false;
  const [first] = events as readonly ({ readonly eventType?: unknown } | null)[];
  return first?.eventType === 'EVENT_TYPE_WORKFLOW_EXECUTION_STARTED' && 'workflowExecutionStartedEventAttributes' in first;
}
