/** The process of a replay: takes the path of a bundle, and tells its parent what comes of each history. */
import { Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { CheckpointLoadError, reportOf, textOf } from '../errors.ts';
import { historiesInBundle } from '../io/bundle.ts';
import type { ReplayMessage } from './replay.ts';
import { installRuntime } from './runtime.ts';
import { WORKFLOW_BUNDLE } from './worker.ts';

interface History {
  readonly events: readonly [StartEvent, ...unknown[]];
}

interface StartEvent {
  readonly workflowExecutionStartedEventAttributes: { readonly workflowId?: unknown };
}

const [, , path = ''] = process.argv;

// Without a parent there is nobody to tell, nor to end this process.
process.once('disconnect', () => process.exit(1));

try {
  installRuntime();
  for await (const { name, history } of historiesInBundle(path)) {
    await tell({ kind: 'began', history: name });
    if (!beginsAsHistory(history))
      throw new CheckpointLoadError(`${name} in ${path} is not a history of a workflow, which begins with the event of its start.`, path);
    await tell({ kind: 'replayed', history: name, events: history.events.length, difference: await differenceOf(history, name) });
  }
  await tell({ kind: 'done' });
} catch (error) {
  await tell({ kind: 'failed', error: reportOf(error) });
}

function tell(message: ReplayMessage): Promise<void> {
  return new Promise((resolve) => process.send!(message, () => resolve()));
}

async function differenceOf(history: History, name: string): Promise<string | null> {
  // Ids of children are made from it.
  const { workflowId } = history.events[0].workflowExecutionStartedEventAttributes;
  try {
    await Worker.runReplayHistory(
      { workflowBundle: { codePath: WORKFLOW_BUNDLE } },
      history,
      typeof workflowId === 'string' ? workflowId : name,
    );
    return null;
  } catch (error) {
    // The sentence of it that says what; the rest is of the machinery.
    if (error instanceof DeterminismViolationError) return /Nondeterminism error: ([^"\\]+)/.exec(error.message)?.[1] ?? error.message;
    throw new CheckpointLoadError(`${name} in ${path} cannot be replayed: ${textOf(error)}`, path, { cause: error });
  }
}

function beginsAsHistory(history: unknown): history is History {
  const events = typeof history === 'object' && history !== null && 'events' in history ? history.events : null;
  if (!Array.isArray(events)) return false;
  const [first] = events as readonly ({ readonly eventType?: unknown } | null)[];
  return first?.eventType === 'EVENT_TYPE_WORKFLOW_EXECUTION_STARTED' && 'workflowExecutionStartedEventAttributes' in first;
}
