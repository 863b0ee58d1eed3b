/**
 * What a stage is, and how one becomes an activity.
 *
 * A stage is a module in `activities/<kind>s/` whose default export is `defineStage({...})`; the catalog finds it there.
 */
import type { z } from 'zod';
import type { JsonObject } from '../src/errors.ts';
import type { Recipe } from '../src/io/publish/manifest.ts';
import type { Turn } from '../src/io/turn.ts';
import type { CheckpointContext } from '../src/model/context.ts';
import type { Plan } from '../src/model/plan.ts';
import type { Need, StageInput, TransferProgress } from '../src/pipeline/contract.ts';
import type { StageKind } from '../src/pipeline/stage-kinds.ts';
import type { Services } from './services.ts';

export interface StageCall<Options> {
  readonly context: CheckpointContext;
  readonly options: Options;
  readonly stage: StageInput['stage'];
  readonly run: StageInput['run'];
  /** Seconds without progress after which a download is given up; default: the worker's own. */
  readonly stall?: StageInput['stall'];
  readonly services: Services;
  /** Work on very many tensors takes turns: the workspace takes it by itself, and it is given back at the end. */
  readonly turn: Turn;
  /** Aborts when the run is cancelled or the worker shuts down. */
  readonly signal: AbortSignal;
  /** No attempt follows this one, should it fail. */
  readonly last: boolean;
  /** Last heartbeat of the attempt before this one, if there was one. */
  readonly resume: JsonObject | undefined;
  /** Says how far a transfer is; also proves that the worker lives. */
  readonly heartbeat: (progress: TransferProgress & JsonObject) => void;
  /** Of a sink that publishes this plan: what the output follows from, for its manifest; null where that is not known. */
  readonly recipe: (plan: Plan) => Promise<Recipe | null>;
}

export interface StageOutcome {
  readonly context: CheckpointContext;
  /** One line for people. */
  readonly summary: string;
}

export interface StageDefinition<Options = unknown> {
  /** `<kind>.<name>`: also the activity type. */
  readonly type: `${StageKind}.${string}`;
  readonly description: string;
  /** A strict zod object; unknown options are errors. */
  readonly options: z.ZodType<Options>;
  /** Options that are paths or URIs: the CLI makes relative ones absolute. */
  readonly locations?: readonly string[];
  /** Options that are mappings of texts: a number or boolean in one is the text that the document has for it, such as `1.10`. */
  readonly asWritten?: readonly string[];
  /** What must be there before it is run; default: by its kind. */
  readonly needs?: readonly Need[];
  /** True where it reads or writes tensor bytes, for minutes perhaps; default: a sink does. Such work is limited apart from light work. */
  readonly moves?: (options: Options) => boolean;
  run(call: StageCall<Options>): Promise<StageOutcome>;
  /** Removes what a call that failed for good or was cancelled may have left behind; must bear being called twice. */
  discard?(call: Omit<StageCall<Options>, 'heartbeat' | 'last' | 'recipe' | 'resume' | 'signal' | 'turn'>): Promise<void>;
}

/** Types a stage's `run` by its options schema. */
export function defineStage<Options>(definition: StageDefinition<Options>): StageDefinition<Options> {
  return definition;
}
