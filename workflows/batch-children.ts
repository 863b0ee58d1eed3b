/**
 * The children of a batch: a `checkpointPipeline` for each item that was begun, by this run of the batch or by an earlier one.
 *
 * Invariant: each is running until it is settled, which it is once, however it ended.
 */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { ChildWorkflowFailure, getExternalWorkflowHandle, isCancellation, ParentClosePolicy, startChild } from '@temporalio/workflow';
import { within } from '../src/model/text.ts';
import { attributePairs } from '../src/pipeline/attribute-pairs.ts';
import { AWAIT_ACTIVITY, childId, nameOf, type BatchItem, type Ending, type Place, type Straggler } from '../src/pipeline/batch.ts';
import { PIPELINE_WORKFLOW, type PipelineInput, type PipelineResult } from '../src/pipeline/contract.ts';
import { ATTRIBUTES_MEMO, startAttributes } from '../src/pipeline/search-attributes.ts';
import { inputOf } from './batch-inputs.ts';
import { reportOfFailure } from './failures.ts';
import { awaiting } from './proxies.ts';

/** Batches yield to runs that somebody waits for. */
const PRIORITY = 4;
/** Bytes that Temporal takes for a fairness key. */
const FAIRNESS_BYTES = 64;
/** Bytes of inputs of children whose start is not confirmed: a task of the workflow is refused at 4 MB. */
const MOST_UNCONFIRMED = 1024 * 1024;

/** A run of an item; its own id is null where it was not started. */
interface Child {
  readonly workflowId: string;
  readonly runId: string | null;
}

/** Takes down how an item has ended; `child` null: no run was needed. */
export type Settle = (place: Place, name: string, child: Child | null, ending: Ending) => void;

export interface Children {
  running(): number;
  /** For one more, where so many may run at a time. */
  haveRoom(window: number): boolean;
  begin(template: PipelineInput, place: Place, item: BatchItem): void;
  /** Waits for children of an earlier run as for those begun here. */
  adopt(stragglers: readonly Straggler[]): void;
  /** Children of an earlier run are nobody's any more: they are told one by one, and awaited. Those begun here are cancelled with the batch. */
  cancelAdopted(): Promise<void>;
  /** Whether all that run are known to have started. */
  areConfirmed(): boolean;
  /** Those that are known to have started, for the next run of the batch. */
  stragglers(): readonly Straggler[];
}

interface Batch {
  readonly workflowId: string;
  /** Search attributes that the server knows. */
  readonly known: readonly string[];
  readonly settle: Settle;
}

export function childrenOf({ workflowId: batch, known, settle }: Batch): Children {
  /** By the index of their item; null where the start is not confirmed. */
  const running = new Map<number, Straggler | null>();
  let unconfirmed = 0;
  let adopted: readonly Straggler[] = [];

  const ended: Settle = (place, ...how) => {
    running.delete(place.index);
    settle(place, ...how);
  };

  async function run(template: PipelineInput, place: Place, item: BatchItem): Promise<void> {
    running.set(place.index, null);
    const workflowId = childId(batch, place.index, item);
    const name = nameOf(item);
    let runId: string | null = null;
    try {
      const { pipeline, size } = inputOf(template, item);
      unconfirmed += size;
      const child = await startChild<(document: PipelineInput) => Promise<PipelineResult>>(PIPELINE_WORKFLOW, {
        workflowId,
        args: [pipeline],
        parentClosePolicy: ParentClosePolicy.ABANDON,
        staticSummary: name,
        memo: { [ATTRIBUTES_MEMO]: known },
        typedSearchAttributes: attributePairs({ ...startAttributes(pipeline), CheckpointBatch: batch }, known),
        priority: { priorityKey: PRIORITY, fairnessKey: within(batch, FAIRNESS_BYTES) },
      }).finally(() => (unconfirmed -= size));
      runId = child.firstExecutionRunId;
      running.set(place.index, { ...place, name, workflowId, runId });
      const { status, outputs } = await child.result();
      const done = status === 'unchanged' ? 'unchanged' : 'completed';
      ended(place, name, { workflowId, runId }, { status: done, outputs: outputs.map(({ uri }) => uri), error: null });
    } catch (thrown) {
      ended(place, name, { workflowId, runId }, endingOf(thrown, workflowId));
    }
  }

  async function awaitEnds(stragglers: readonly Straggler[]): Promise<void> {
    let left = stragglers;
    while (left.length > 0) {
      const children = left.map(({ workflowId, runId }) => ({ workflowId, runId }));
      const { ended: ends } = await awaiting[AWAIT_ACTIVITY]({ children }).catch((thrown: unknown) => {
        if (isCancellation(thrown)) throw thrown;
        // Nobody can tell how they end, so they count as failed.
        return { ended: left.map(({ workflowId }) => ({ workflowId, ending: endingOf(thrown, workflowId) })) };
      });
      for (const { workflowId, ending } of ends) {
        const one = left.find((straggler) => straggler.workflowId === workflowId);
        // A cancellation asks for all of them anew, while the answer to the question before may be under way.
        if (one !== undefined && running.has(one.index)) ended(one, one.name, one, ending);
      }
      left = left.filter(({ workflowId }) => !ends.some((each) => each.workflowId === workflowId));
    }
  }

  return {
    running: () => running.size,
    haveRoom: (window) => running.size < window && unconfirmed < MOST_UNCONFIRMED,
    begin: (template, place, item) => void run(template, place, item),
    adopt(stragglers) {
      adopted = stragglers;
      for (const straggler of stragglers) running.set(straggler.index, straggler);
      // It ends early only where the batch is cancelled, and then they are awaited anew.
      void awaitEnds(stragglers).catch((thrown: unknown) => (isCancellation(thrown) ? undefined : Promise.reject(thrown)));
    },
    async cancelAdopted() {
      const left = adopted.filter(({ index }) => running.has(index));
      await Promise.all(
        left.map(({ workflowId, runId }) =>
          getExternalWorkflowHandle(workflowId, runId)
            .cancel()
            // It has ended meanwhile.
            .catch(() => undefined),
        ),
      );
      await awaitEnds(left);
    },
    areConfirmed: () => [...running.values()].every((one) => one !== null),
    stragglers: () => [...running.values()].filter((one) => one !== null),
  };
}

/** How a child ended that gave no result. */
function endingOf(thrown: unknown, id: string): Ending {
  if (isCancellation(thrown)) return { status: 'cancelled', outputs: [], error: null };
  if (thrown instanceof WorkflowExecutionAlreadyStartedError) {
    const message = `A run with the id ${id} is going on, of an earlier batch with the same id. Wait for its end or cancel it, then \`ckpt batch retry\`.`;
    return { status: 'failed', outputs: [], error: { type: 'CheckpointError', message, details: {} } };
  }
  const cause = thrown instanceof ChildWorkflowFailure ? thrown.cause : thrown;
  return { status: 'failed', outputs: [], error: reportOfFailure(cause ?? thrown) };
}
