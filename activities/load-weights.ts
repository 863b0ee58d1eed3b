/** What every loader stage does around the pure part: read header and target, plan, keep both in the workspace, record. */
import { z } from 'zod';
import { CheckpointConfigError, CheckpointError, CheckpointValidationError, type Json, type JsonObject } from '../src/errors.ts';
import type { Header } from '../src/model/header.ts';
import { listIn } from '../src/model/json.ts';
import { WEIGHTS_ONLY, type Plan } from '../src/model/plan.ts';
import type { Target } from '../src/model/target.ts';
import { formatBytes, formatCount, formatNumber } from '../src/model/text.ts';
import { withWarnings } from '../src/model/warnings.ts';
import { checkFill, type Tie } from '../src/transform/choose-weights.ts';
import type { LoadRules } from '../src/transform/load-rules.ts';
import { loadWeights, type Loaded } from '../src/transform/load.ts';
import { NO_REFRESH } from '../src/transform/refreshed.ts';
import { shapeText } from '../src/transform/match.ts';
import { plannedOf } from '../src/transform/planned.ts';
import { briefList, briefMap, withRecord } from '../src/transform/record.ts';
import { refusedBy } from './option-checks.ts';
import { checkTargetKey, readTarget, TARGET, targetOption } from './read-target.ts';
import type { StageCall, StageOutcome } from './stage.ts';
import { stateDictKey } from './take-source.ts';
import { withPath } from './with-path.ts';

/** Options that every loader has. */
export const loaderOptions = {
  target: targetOption,
  target_state_dict_key: stateDictKey.describe('the same as `state_dict_key` of a source, for a target that is a checkpoint'),
  fill: z
    .enum(['target', 'none'])
    .describe(
      "`target`: take what the source lacks, or what does not fit, from the target checkpoint's own values; `none`: publish what was transferred",
    )
    .optional(),
  strip_prefix: z
    .string()
    .min(1)
    .describe(
      "taken away from the source's names that begin with it, before they are compared: `module.` of DataParallel, `model.` of Lightning",
    )
    .optional(),
  add_prefix: z.string().min(1).describe("put in front of all of the source's names, after `strip_prefix`").optional(),
  skip_unsupported: z
    .boolean()
    .default(false)
    .describe('leave out tensors without a plain dense form (sparse, quantized) instead of failing'),
  refresh_states: z
    .boolean()
    .default(false)
    .describe("take the target's own values for pre_processors and post_processors (update_ds_stats_on_ckpt_load.states)"),
  refresh_tendencies: z
    .boolean()
    .default(false)
    .describe("take the target's own values for pre_ and post_processors_tendencies (update_ds_stats_on_ckpt_load.tendencies)"),
};

export interface LoaderOptions {
  readonly target?: string | Record<string, unknown> | undefined;
  readonly target_state_dict_key?: string | undefined;
  readonly fill?: LoadRules['fill'] | undefined;
  readonly strip_prefix?: string | undefined;
  readonly add_prefix?: string | undefined;
  readonly skip_unsupported: boolean;
  readonly refresh_states: boolean;
  readonly refresh_tendencies: boolean;
}

/** What can be said of a loader's options together. */
export const aboutTarget = refusedBy(({ fill, target, target_state_dict_key: key, strict }: Partial<LoaderOptions & Strictness>) => {
  if (target === undefined && fill === 'target') throw targetRequired('`fill: target` takes values from it');
  if (target === undefined && strict === true) throw targetRequired('`strict: true` compares names with it');
  checkFill(fill, typeof target === 'object' ? 'spec' : 'checkpoint');
  checkTargetKey(key, target === undefined ? null : typeof target === 'object' ? 'spec' : 'checkpoint');
});

/** Of a loader whose work is to fit the source to a target. */
export const targetNeeded = refusedBy(({ target }: Partial<LoaderOptions>) => {
  if (target === undefined) throw targetRequired('this loader takes what fits it');
});

/** An option that some loaders have. */
interface Strictness {
  readonly strict: boolean;
}

function targetRequired(why: string): CheckpointConfigError {
  return new CheckpointConfigError(`it is missing, and ${why}: say which model the weights must fit`, TARGET, {
    details: { reason: 'target_required' },
  });
}

export interface LoaderRules {
  readonly strategy: string;
  readonly strict: boolean;
  readonly skipMismatched: boolean;
  /** Fill from a target that is a checkpoint unless told otherwise. */
  readonly fillByDefault: boolean;
  /** Everything that the source keeps beside its weights goes along. */
  readonly keepTrainingState?: boolean;
  /** Further keys of the record, from what the header says. */
  readonly metadata?: (header: Header) => JsonObject | Promise<JsonObject>;
}

export async function loadStage(call: StageCall<LoaderOptions>, rules: LoaderRules): Promise<StageOutcome> {
  const { context, options, services, run } = call;
  requireSource(call);
  const workspace = services.workspace(run.workspace);
  // The workspace verifies digests: what is read is what an earlier stage of this run wrote.
  const header = (await workspace.getJson(context.header!)) as Header;
  const earlier = context.plan === undefined ? undefined : ((await workspace.getJson(context.plan)) as Plan);
  // zod's record is JSON: it came through Temporal.
  const target =
    options.target === undefined
      ? undefined
      : await withPath(call, () => readTarget(call, options.target as string | JsonObject, options.target_state_dict_key));
  const fill = options.fill ?? (rules.fillByDefault && target?.kind === 'checkpoint' ? 'target' : 'none');
  const loaded = await withPath(call, () =>
    loadWeights(
      header,
      target,
      {
        strict: rules.strict,
        skipMismatched: rules.skipMismatched,
        skipUnsupported: options.skip_unsupported,
        fill,
        refreshStates: options.refresh_states,
        refreshTendencies: options.refresh_tendencies,
        keepTrainingState: rules.keepTrainingState === true,
        stripPrefix: options.strip_prefix,
        addPrefix: options.add_prefix,
      },
      earlier,
    ),
  );
  if (loaded.plan.tensors.length === 0) throw nothingLeft(header, loaded.skipped);
  const { warnings: ofHeader, ...more } = (await rules.metadata?.(header)) ?? {};
  const incomplete = rules.fillByDefault && options.fill === undefined ? unfilled(target, loaded) : [];
  const warnings = withWarnings(context.metadata, [...loaded.warnings, ...incomplete, ...listIn(ofHeader)]);
  const plan = withRecord(loaded.plan, completeRecord(loaded));
  return {
    context: {
      ...context,
      plan: await workspace.putJson(plan),
      planned: plannedOf(plan),
      ...(target === undefined ? {} : { target: await workspace.putJson(target) }),
      metadata: {
        ...withoutLists(context.metadata),
        ...briefRecord(loaded, rules),
        ...more,
        ...(warnings.length === 0 ? {} : { warnings }),
      },
      weightsLoaded: context.weightsLoaded || loaded.transferred.length > 0,
    },
    summary: summaryOf(loaded, header.weights.length),
  };
}

function requireSource({ context, stage }: StageCall<LoaderOptions>): void {
  if (context.header !== undefined) return;
  throw new CheckpointError(`${stage.type} requires checkpoint_data: put a source before it.`, {
    retryable: false,
    details: { stage: stage.type, missing_fields: ['checkpoint_data'] },
  });
}

/** Where the rest of the target was to be filled in, and it has no values: its reader expects a complete file. */
function unfilled(target: Target | undefined, { plan }: Loaded): readonly string[] {
  // What was to be refreshed has a warning of its own.
  const unrefreshed = plan.skipped.filter(({ reason }) => reason === NO_REFRESH).length;
  const missing = (target?.tensors.length ?? 0) - plan.tensors.length - unrefreshed;
  if (target?.kind !== 'spec' || missing === 0) return [];
  return [
    `${missing} of the target's ${formatCount(target.tensors.length, 'name')} will not be published: nothing of the source fits them, and a spec has no values to fill them with. A checkpoint as \`target\` has.`,
  ];
}

/** An output without tensors would take the place of one with them. */
function nothingLeft({ weights }: Header, skipped: Loaded['skipped']): CheckpointValidationError {
  const reasons = skipped.slice(0, 5).map(({ what, reason }) => `${what} (${reason})`);
  const why = reasons.length === 0 ? '' : `: left out are ${reasons.join(', ')}${skipped.length > reasons.length ? ' …' : ''}`;
  const text = weights.length === 0 ? 'The source holds no tensor' : `No tensor is left of the source's ${weights.length}`;
  return new CheckpointValidationError(`${text}${why}.`, ['no tensor'], {
    details: { reason: 'no_tensors', skipped: skipped.slice(0, 20).map(({ what, reason }) => ({ what, reason })) },
  });
}

function completeRecord(loaded: Loaded): JsonObject {
  return {
    transferred_params: loaded.transferred,
    missing_keys: loaded.missing,
    unexpected_keys: loaded.unexpected,
    casts: loaded.casts,
    filled_params: loaded.filled,
    tied_params: loaded.tied.map(tieRecord),
    refreshed_params: loaded.refreshed,
    ...(loaded.nameToIndex === undefined ? {} : { ckpt_model_name_to_index: loaded.nameToIndex }),
  };
}

function briefRecord(loaded: Loaded, rules: LoaderRules): Record<string, Json> {
  const list = (key: keyof typeof LISTS, entries: readonly Json[]): JsonObject =>
    entries.length === 0 ? {} : briefList(key, LISTS[key], entries);
  return {
    loading_strategy: rules.strategy,
    ...(loaded.transferred.length > 0 ? { weights_initialized: true } : {}),
    ...briefList('transferred_params', 'num_transferred', loaded.transferred),
    skipped_params: briefMap(
      loaded.skipped.map(({ what, reason, details }) => [
        what,
        reason === 'shape_mismatch'
          ? `shape_mismatch: ${shapeOf(details?.['source_shape'])}, target ${shapeOf(details?.['target_shape'])}`
          : reason,
      ]),
    ),
    num_skipped: loaded.skipped.length,
    ...list('missing_keys', loaded.missing),
    ...list('unexpected_keys', loaded.unexpected),
    ...list('casts', loaded.casts),
    ...list('filled_params', loaded.filled),
    ...list('tied_params', loaded.tied.map(tieRecord)),
    ...list('refreshed_params', loaded.refreshed),
    ...(loaded.migrated === 0 ? {} : { migrations_applied: { chunking_fix: loaded.migrated } }),
    ...(loaded.nameToIndex === undefined ? {} : { ckpt_model_name_to_index: briefMap(Object.entries(loaded.nameToIndex)) }),
  };
}

/** Lists that a loader writes where it has any: those of one before it are not its own. */
const LISTS = {
  missing_keys: 'num_missing',
  unexpected_keys: 'num_unexpected',
  casts: 'num_casts',
  filled_params: 'num_filled',
  tied_params: 'num_tied',
  refreshed_params: 'num_refreshed',
};

function withoutLists(metadata: Readonly<Record<string, Json>>): Readonly<Record<string, Json>> {
  const keys = new Set(Object.entries(LISTS).flat());
  return Object.fromEntries(Object.entries(metadata).filter(([key]) => !keys.has(key)));
}

function tieRecord({ name, to }: Tie): JsonObject {
  return { name, tied_to: to };
}

function shapeOf(shape: Json | undefined): string {
  return Array.isArray(shape) ? shapeText(shape as readonly number[]) : 'none';
}

function summaryOf(loaded: Loaded, given: number): string {
  const { plan, transferred, skipped, casts, filled, tied, refreshed } = loaded;
  const { bytes } = plannedOf(plan);
  const more = [
    ...(skipped.length > 0 ? [`${formatNumber(skipped.length)} skipped`] : []),
    ...(filled.length + refreshed.length > 0 ? [`${formatNumber(filled.length + refreshed.length)} from the target`] : []),
    ...(tied.length > 0 ? [`${formatNumber(tied.length)} tied to a transferred one`] : []),
    ...(casts.length > 0 ? [`${formatNumber(casts.length)} cast`] : []),
    ...(loaded.migrated > 0 ? [`${loaded.migrated} renamed by the chunking fix`] : []),
  ];
  const state = plan.trainingState === undefined ? '' : `, training state with ${formatCount(plan.stateTensors?.length ?? 0, 'tensor')}`;
  return `${formatNumber(transferred.length)} of ${formatCount(given, 'tensor')} transferred, ${formatBytes(bytes)} to publish${more.map((each) => `, ${each}`).join('')}${state}${leftOut(plan.dropped)}`;
}

/** Names of what stays behind as a loader keeps weights only: all are in the manifest, the first in the summary. */
function leftOut(dropped: Plan['dropped']): string {
  const beside = dropped.filter(({ reason }) => reason === WEIGHTS_ONLY);
  if (beside.length === 0) return '';
  const names = beside.slice(0, 10).map(({ what }) => what.slice(0, 40));
  return `; weights only, so left out: ${names.join(', ')}${beside.length > names.length ? ' …' : ''}`;
}
