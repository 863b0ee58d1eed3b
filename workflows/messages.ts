/** Queries and updates of a run, and the question that a run with `on_error: wait` asks. */
import { CancellationScope, condition, defineQuery, defineUpdate, isCancellation, setHandler } from '@temporalio/workflow';
import { CheckpointConfigError, isCheckpointError, type JsonObject } from '../src/errors.ts';
import {
  RESOLVE_UPDATE,
  STATUS_QUERY,
  type PipelineResult,
  type Resolution,
  type Resolved,
  type StageSpec,
  type Waiting,
} from '../src/pipeline/contract.ts';
import { optionsOf } from '../src/pipeline/document.ts';
import { changedStage, checkResolution } from '../src/pipeline/resolution.ts';
import { failureOf, reportOfFailure } from './failures.ts';
import { checkOptions } from './proxies.ts';

export const statusQuery = defineQuery<PipelineResult>(STATUS_QUERY);
const resolveUpdate = defineUpdate<Resolved, [Resolution]>(RESOLVE_UPDATE);

export interface Answer {
  readonly action: Resolution['action'];
  /** The stage as it is to be tried again. */
  readonly stage: StageSpec;
  readonly changed: JsonObject | null;
}

export interface Questions {
  readonly open: () => Waiting | null;
  /** Stands still until somebody has answered, or the run is cancelled. */
  ask(stage: StageSpec, waiting: Waiting): Promise<Answer>;
}

/**
 * One question at a time. An answer is taken once: whoever comes second while it is looked at, or after it, is refused by the
 * validator. Changed options are checked by the stage's own schema on a worker; a wrong one is refused, and the run waits on.
 */
export function takeQuestions(changed: () => void): Questions {
  let open: { readonly stage: StageSpec; readonly waiting: Waiting } | null = null;
  let answer: Answer | null = null;
  let looking = false;

  async function resolve({ action, options = {} }: Resolution): Promise<Resolved> {
    // The validator has let this through, so there is a question.
    const { stage, waiting } = open!;
    const changes = Object.keys(options).length === 0 ? null : options;
    looking = true;
    try {
      const next = changes === null ? stage : changedStage(stage, changes, waiting.stage.index);
      if (changes !== null) await checkOptions({ ...waiting.stage, options: optionsOf(next) });
      answer = { action, stage: next, changed: changes };
    } catch (thrown) {
      if (isCancellation(thrown)) throw thrown;
      const refused = reportOfFailure(thrown);
      // The run may have been cancelled meanwhile, and asks no more.
      if (open !== null) {
        open = { stage, waiting: { ...waiting, refused } };
        changed();
      }
      throw failureOf(refused);
    } finally {
      looking = false;
    }
    return { stage: waiting.stage, action };
  }

  function validate(given: unknown): void {
    try {
      if (open === null || answer !== null || looking)
        throw new CheckpointConfigError(looking ? 'Another answer is being looked at.' : 'This run waits for no answer.', undefined, {
          details: { reason: 'not_waiting' },
        });
      checkResolution(given);
    } catch (thrown) {
      if (isCheckpointError(thrown)) throw failureOf(thrown.toJSON());
      throw thrown;
    }
  }

  setHandler(resolveUpdate, resolve, {
    validator: validate,
    description: 'what to do with the stage that failed: {action: retry|skip|abort, options?: {…}}',
  });
  return {
    open: () => open?.waiting ?? null,
    async ask(stage, waiting) {
      open = { stage, waiting };
      answer = null;
      changed();
      try {
        await condition(() => answer !== null);
        return answer!;
      } finally {
        open = null;
        await CancellationScope.nonCancellable(() => condition(() => !looking));
      }
    },
  };
}
