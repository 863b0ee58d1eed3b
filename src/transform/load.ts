/**
 * What every loader does: source header, and a target where there is one → plan. Pure, O(tensors).
 *
 * In this order: migration of old names, refresh of processors, selection, filling from the target, overlay over what an
 * earlier loader of the same run selected. Invariant: what is published has the target's names, shapes, dtypes and order.
 */
import { CheckpointConfigError, CheckpointIncompatibleError, type JsonObject } from '../errors.ts';
import type { PinnedFile } from '../model/byte-source.ts';
import { elementCount, isCastable } from '../model/dtype.ts';
import { movedBehind, RANKS_UNKNOWN, type Header, type Storage, type Tensor } from '../model/header.ts';
import type { LeftOut, Plan, PlannedTensor } from '../model/plan.ts';
import type { Target, TargetTensor } from '../model/target.ts';
import { nameToIndex } from './index-metadata.ts';
import { carriedAlong, keepTrainingState } from './keep-training-state.ts';
import { noDenseForm, otherContent, withTensors } from './left-out.ts';
import { matchTarget, sameShape, type Match, type NamedTensor } from './match.ts';
import { chunkingFix } from './migration.ts';
import { attributesWithPrefixes, withPrefixes } from './module-paths.ts';
import { refuseTwins } from './rename.ts';
import { staleState } from './stale-state.ts';
import { placeOf } from './ties.ts';

export type Fill = 'target' | 'none';

export interface LoadRules {
  readonly strict: boolean;
  readonly skipMismatched: boolean;
  readonly skipUnsupported: boolean;
  /** Take what the source lacks, or what does not fit, from the target's own values. */
  readonly fill: Fill;
  /** Take the target's own values for the processors' statistics, whatever the source has. */
  readonly refreshStates: boolean;
  readonly refreshTendencies: boolean;
  /** Take along everything that the source keeps beside its weights. */
  readonly keepTrainingState?: boolean;
  /** Taken away from names of the source that begin with it, before they are compared with the target's. */
  readonly stripPrefix?: string | undefined;
  /** Put in front of all of them after that. */
  readonly addPrefix?: string | undefined;
}

export interface Loaded {
  readonly plan: Plan;
  /** Tensors whose values come from the source. */
  readonly transferred: readonly string[];
  readonly skipped: readonly LeftOut[];
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly casts: readonly JsonObject[];
  /** Names whose values come from the target because the source lacks them or they do not fit. */
  readonly filled: readonly string[];
  /** Names that would be filled, but in the target are the same tensor as a transferred one, whose value they take. */
  readonly tied: readonly Tie[];
  readonly refreshed: readonly string[];
  readonly migrated: number;
  readonly warnings: readonly string[];
  readonly nameToIndex: JsonObject | undefined;
}

export interface Tie {
  readonly name: string;
  /** The transferred name. */
  readonly to: string;
}

/** Throws `CheckpointIncompatibleError` where source and target do not go together under the rules. */
export function loadWeights(header: Header, target: Target | undefined, rules: LoadRules, earlier?: Plan): Loaded {
  const migration = chunkingFix(header);
  const isRefreshed = refreshedNames(rules);
  const named = (name: string): string => withPrefixes(name, rules);
  const all = header.weights.map(({ name, tensor }): NamedTensor => ({
    name: named(migration.rename(name)),
    tensor: header.tensors[tensor]!,
  }));
  const isRenamed = (rules.stripPrefix ?? rules.addPrefix) !== undefined;
  if (isRenamed) {
    refuseNameless(header, all);
    refuseTwins(header.weights, all, 'Take away another prefix, or none.');
  }
  const source = all.filter(({ name }) => !isRefreshed(name));
  const shapes = new Map(header.nonTensors.length === 0 ? [] : target?.tensors.map(({ name, shape }) => [name, shape]));
  const others = header.nonTensors.map(({ name, is }) => ({ name: named(name), is }));
  const nonTensors = others.map(({ name, is }): LeftOut => ({
    what: name,
    reason: 'not_a_tensor',
    details: { is, source_shape: null, target_shape: shapes.get(name) ?? null },
  }));
  const chosen =
    target === undefined
      ? withoutTarget(header, source, rules)
      : withTarget(header, source, target, rules, isRefreshed, new Set(others.map(({ name }) => name)));
  const { stateDictAttributes, ...carried } = carriedAlong(header);
  const weights: Plan = {
    ...chosen.bytes,
    tensors: chosen.tensors,
    ...carried,
    ...(stateDictAttributes === undefined ? {} : { stateDictAttributes: attributesWithPrefixes(stateDictAttributes, rules) }),
    frozen: earlier?.frozen ?? [],
    skipped: [...chosen.skipped, ...unrefreshed(all, target, isRefreshed), ...nonTensors],
    dropped: otherContent(header).map((what) => ({ what, reason: 'weights only' })),
    metadata: header.metadata,
  };
  const fresh = rules.keepTrainingState === true ? keepTrainingState(header, weights) : weights;
  const won = new Set([...chosen.transferred, ...chosen.tied.map(({ name }) => name)]);
  const renamed = isRenamed ? header.weights.filter(({ name }) => named(name) !== name).length : 0;
  const warnings = [
    ...(migration.warning === undefined ? [] : [migration.warning]),
    ...unused(header, rules),
    ...nested(header),
    ...perhapsMissing(header),
    ...chosen.warnings,
    ...staleState(fresh, renamed, 'renamed'),
  ];
  const plan = earlier === undefined ? fresh : overlaid(earlier, fresh, won, target);
  // Behind the earlier load's storages lie those of this one: what it filled in counts only where nothing was before.
  const own =
    earlier === undefined
      ? null
      : new Set(plan.tensors.flatMap(({ name, origin }) => (origin.storage < earlier.storages.length ? [] : [name])));
  const isOwn = (name: string): boolean => own === null || own.has(name);
  return {
    plan,
    transferred: chosen.transferred,
    skipped: plan.skipped,
    missing: chosen.missing,
    unexpected: chosen.unexpected,
    casts: plan.tensors
      .filter(({ dtype, shape, origin }) => dtype !== origin.dtype || shape.length !== origin.shape.length)
      .map(({ name, dtype, shape, origin }) => ({
        name,
        from: origin.dtype,
        to: dtype,
        ...(shape.length === origin.shape.length ? {} : { from_shape: origin.shape, to_shape: shape }),
      })),
    filled: chosen.filled.filter(isOwn),
    tied: chosen.tied,
    refreshed: chosen.refreshed.filter(isOwn),
    migrated: migration.count,
    warnings: [...warnings, ...withoutValues(plan.skipped, target)],
    nameToIndex: nameToIndex(header),
  };
}

/** The reason of a name that is to be refreshed where there are no values to do it with. */
export const NO_REFRESH = 'refresh_without_values';

/** Names to be refreshed that neither source nor target gives a value for; the others are not compared with the target either. */
function unrefreshed(
  source: readonly NamedTensor[],
  target: Target | undefined,
  isRefreshed: (name: string) => boolean,
): readonly LeftOut[] {
  const given = new Map(source.flatMap(({ name, tensor }) => (isRefreshed(name) ? [[name, tensor.shape]] : [])));
  const wanted = new Map(target?.tensors.flatMap((tensor) => (isRefreshed(tensor.name) ? [[tensor.name, tensor]] : [])));
  const without = [...wanted.values()].filter(({ origin }) => origin === undefined);
  const extra = [...given].filter(([name]) => !wanted.has(name));
  return [
    ...without.map(({ name, shape }) => ({
      what: name,
      reason: NO_REFRESH,
      details: { source_shape: given.get(name) ?? null, target_shape: shape },
    })),
    ...extra.map(([name, shape]) => ({
      what: name,
      reason: target === undefined ? NO_REFRESH : 'not_in_target',
      details: { source_shape: shape, target_shape: null },
    })),
  ];
}

function withoutValues(skipped: readonly LeftOut[], target: Target | undefined): readonly string[] {
  const names = skipped.flatMap(({ what, reason }) => (reason === NO_REFRESH ? [what] : []));
  if (names.length === 0) return [];
  const why = target === undefined ? 'there is no target to take them from' : 'the target has no values for them';
  return [
    `${names.length} processor statistics are to be refreshed and were left out, as ${why}: ${names.slice(0, 5).join(', ')}${names.length > 5 ? ' …' : ''}. A checkpoint as \`target\` has values; without \`refresh_states\` and \`refresh_tendencies\` the source's own are taken.`,
  ];
}

function refuseNameless(header: Header, all: readonly NamedTensor[]): void {
  const nameless = all.findIndex(({ name }) => name === '');
  if (nameless === -1) return;
  const { name } = header.weights[nameless]!;
  throw new CheckpointIncompatibleError(`\`strip_prefix\` leaves nothing of the name ${name}.`, {
    details: { reason: 'empty_name', name },
  });
}

function unused(header: Header, { stripPrefix }: LoadRules): readonly string[] {
  if (stripPrefix === undefined || header.weights.some(({ name }) => name.startsWith(stripPrefix))) return [];
  return [`strip_prefix \`${stripPrefix}\` fits no name.`];
}

/** Warnings of values that hold tensors; the last one counts the rest. */
const NESTED_TOLD = 10;

/** A state dict is flat: what lies deeper was perhaps meant to be there. */
function nested(header: Header): readonly string[] {
  const all = withTensors(header);
  const told = all.slice(0, all.length > NESTED_TOLD ? NESTED_TOLD - 1 : NESTED_TOLD);
  const rest = all.slice(told.length);
  return [
    ...told.map(({ name, is, tensors }) => {
      const advice =
        is === 'a dict'
          ? 'Name its key with `state_dict_key` of the source, or save the dict flat.'
          : 'Save them under names of their own.';
      return `${name} is ${is} with tensors (${tensors}), which are left out: a state dict is flat. ${advice}`;
    }),
    ...(rest.length === 0
      ? []
      : [
          `${rest.length} more values of the state dict hold tensors (${rest.reduce((sum, { tensors }) => sum + tensors, 0)}), which are left out as well.`,
        ]),
  ];
}

/** Nothing in the files of some ranks says whether there were more. */
function perhapsMissing({ findings }: Header): readonly string[] {
  return findings.flatMap(({ code, message }) => (code === RANKS_UNKNOWN ? [`Rows of tensors may be missing: ${message}.`] : []));
}

interface Chosen {
  readonly bytes: { readonly files: readonly PinnedFile[]; readonly storages: readonly Storage[] };
  readonly tensors: readonly PlannedTensor[];
  readonly transferred: readonly string[];
  readonly skipped: readonly LeftOut[];
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly filled: readonly string[];
  readonly tied: readonly Tie[];
  readonly refreshed: readonly string[];
  readonly warnings: readonly string[];
}

function withoutTarget(header: Header, source: readonly NamedTensor[], rules: LoadRules): Chosen {
  const usable = source.filter(({ tensor }) => tensor.unsupported === undefined);
  const unsupported = source
    .filter(({ tensor }) => tensor.unsupported !== undefined)
    .map(({ name, tensor }) => ({ what: name, reason: `unsupported: ${tensor.unsupported}` }));
  // Layers of torch's dynamic quantisation keep weight and bias in a tuple.
  const packed = header.nonTensors.flatMap(({ name, is, unsupported: why }) =>
    why === undefined ? [] : [{ what: name, reason: `unsupported: ${why}, in ${is}` }],
  );
  const noForm = [...unsupported, ...packed];
  if (noForm.length > 0 && !rules.skipUnsupported) throw noDenseForm(noForm);
  return {
    bytes: { files: header.files, storages: header.storages },
    tensors: usable.map(({ name, tensor }) => ({ name, dtype: tensor.dtype, shape: tensor.shape, origin: tensor })),
    transferred: usable.map(({ name }) => name),
    skipped: unsupported,
    missing: [],
    unexpected: [],
    filled: [],
    tied: [],
    refreshed: [],
    warnings: [],
  };
}

/** Only a checkpoint has values. */
export function checkFill(fill: Fill | undefined, kind: Target['kind']): void {
  if (fill === 'target' && kind !== 'checkpoint')
    throw new CheckpointConfigError(
      '`fill: target` needs a target that is a checkpoint: a spec of names and shapes has no values to fill with.',
      'fill',
    );
}

function withTarget(
  header: Header,
  source: readonly NamedTensor[],
  target: Target,
  rules: LoadRules,
  isRefreshed: (name: string) => boolean,
  nonTensors: ReadonlySet<string>,
): Chosen {
  checkFill(rules.fill, target.kind);
  const refreshable = target.tensors.filter(({ name }) => isRefreshed(name));
  const withoutBytes = refreshable.filter(({ origin }) => origin === undefined).map(({ name }) => name);
  if (rules.strict && withoutBytes.length > 0) {
    throw new CheckpointIncompatibleError(
      `${withoutBytes.length} processor statistics are to be refreshed, but the target has no values for them: ${withoutBytes.slice(0, 5).join(', ')}. Give a checkpoint as target.`,
      { details: { reason: NO_REFRESH, missing_keys: withoutBytes.slice(0, 100), num_missing: withoutBytes.length } },
    );
  }
  const judged: Target = { ...target, tensors: target.tensors.filter(({ name }) => !isRefreshed(name) && !nonTensors.has(name)) };
  // A name whose value is not a tensor in the source is neither missing nor a fit: it is skipped as `not_a_tensor`.
  const strictTarget = rules.strict ? { ...target, tensors: target.tensors.filter(({ name }) => !isRefreshed(name)) } : judged;
  const match: Match = matchTarget(source, strictTarget, rules);
  // Storages of the target follow the source's own; only where something is taken from it, so that else it is not even opened.
  const untaken = target.tensors.filter(({ name }) => rules.fill === 'target' && !isRefreshed(name) && !match.selected.has(name));
  const tied = tiesAmong(untaken, target, match);
  const tiedTo = new Map(tied.map(({ name, to }) => [name, to]));
  const fills = new Set(untaken.flatMap(({ name }) => (tiedTo.has(name) ? [] : [name])));
  const takes = target.tensors.filter(({ name, origin }) => origin !== undefined && (isRefreshed(name) || fills.has(name)));
  const bytes = takes.length === 0 ? { files: header.files, storages: header.storages } : appended(header, target);
  const own = (origin: Tensor): Tensor => ({ ...origin, storage: origin.storage + header.storages.length });
  const taken = new Set(takes.map(({ name }) => name));
  const tensors = target.tensors.flatMap(({ name, dtype, shape, origin }): PlannedTensor[] => {
    if (taken.has(name)) return [{ name, dtype, shape, origin: own(origin!) }];
    const fit = match.selected.get(tiedTo.get(name) ?? name);
    return fit === undefined ? [] : [{ name, dtype, shape, origin: fit.source }];
  });
  const unfilled = target.tensors.length - tensors.length - withoutBytes.length;
  return {
    bytes,
    tensors,
    transferred: [...match.selected.keys()],
    skipped: match.skipped,
    missing: match.missing,
    unexpected: match.unexpected,
    filled: takes.filter(({ name }) => !isRefreshed(name)).map(({ name }) => name),
    tied,
    refreshed: takes.filter(({ name }) => isRefreshed(name)).map(({ name }) => name),
    warnings:
      rules.fill === 'target' && unfilled > 0
        ? [`${unfilled} names of the target are not published: the source lacks them and the target has no dense values for them.`]
        : [],
  };
}

/**
 * Names of the target that the source has no fit for, each with a transferred name that is the same tensor there. A model that
 * ties them loads both into one place: the target's old value would overwrite the transferred one. Of several transferred
 * names it is the last, whose value such a model keeps.
 */
function tiesAmong(untaken: readonly TargetTensor[], target: Target, { selected }: Match): readonly Tie[] {
  const storages = new Set(untaken.map(({ origin }) => origin?.storage));
  const transferred = new Map<string, string>();
  for (const { name, origin } of target.tensors)
    if (origin !== undefined && storages.has(origin.storage) && selected.has(name)) transferred.set(placeOf(origin), name);
  return untaken.flatMap(({ name, shape, origin }) => {
    const to = origin === undefined || elementCount(shape) === 0 ? undefined : transferred.get(placeOf(origin));
    return to === undefined ? [] : [{ name, to }];
  });
}

/** Files and storages of both; storages of the second count from the first's length. */
function appended(
  first: { readonly files: readonly PinnedFile[]; readonly storages: readonly Storage[] },
  second: { readonly files: readonly PinnedFile[]; readonly storages: readonly Storage[] },
): { readonly files: readonly PinnedFile[]; readonly storages: readonly Storage[] } {
  const moved = second.storages.map((storage) => movedBehind(storage, first.files.length));
  return { files: [...first.files, ...second.files], storages: [...first.storages, ...moved] };
}

/**
 * What successive loads into one model leave: the later one's transferred tensors win, its fillings only where nothing was. The model is
 * what the later load was judged by: what the earlier one left and does not fit in there is skipped.
 * Training state is the later loader's: weights and optimizer of different loads do not go together.
 */
function overlaid(earlier: Plan, later: Plan, transferred: ReadonlySet<string>, target: Target | undefined): Plan {
  const moved = (tensor: PlannedTensor): PlannedTensor => ({
    ...tensor,
    origin: { ...tensor.origin, storage: tensor.origin.storage + earlier.storages.length },
  });
  const before = new Map(earlier.tensors.map((tensor) => [tensor.name, tensor]));
  const own = new Map(later.tensors.map((tensor) => [tensor.name, tensor]));
  const wanted: readonly Pick<PlannedTensor, 'name' | 'dtype' | 'shape'>[] = target?.tensors ?? [
    ...later.tensors,
    ...earlier.tensors.filter(({ name }) => !own.has(name)),
  ];
  const skipped: LeftOut[] = [];
  const tensors = wanted.flatMap(({ name, dtype, shape }): readonly PlannedTensor[] => {
    const fresh = own.get(name);
    const old = transferred.has(name) ? undefined : before.get(name);
    // Without a target they are as they come, each for itself.
    if (old !== undefined && target === undefined) return [old];
    if (old !== undefined && sameShape(old.shape, shape) && isCastable(old.origin.dtype, dtype)) return [{ ...old, dtype, shape }];
    if (old !== undefined) skipped.push(leftBehind(old, sameShape(old.shape, shape) ? 'other_kind' : 'shape_mismatch', shape));
    return fresh === undefined ? [] : [moved(fresh)];
  });
  const covered = new Set(tensors.map(({ name }) => name));
  const names = new Set(wanted.map(({ name }) => name));
  for (const tensor of earlier.tensors) if (!names.has(tensor.name)) skipped.push(leftBehind(tensor, 'not_in_target', null));
  return {
    ...later,
    ...appended(earlier, later),
    tensors,
    ...(later.stateTensors === undefined ? {} : { stateTensors: later.stateTensors.map(moved) }),
    ...attachmentsOf(earlier, later),
    skipped: [...later.skipped.filter(({ what }) => !covered.has(what)), ...skipped],
    metadata: { ...earlier.metadata, ...later.metadata },
    ...(earlier.record === undefined ? {} : { record: earlier.record }),
  };
}

/** A tensor of the earlier load. */
function leftBehind({ name, shape }: PlannedTensor, reason: string, wanted: readonly number[] | null): LeftOut {
  return { what: name, reason, details: { source_shape: shape, target_shape: wanted } };
}

/** Those of the later load, or else of the earlier one. */
function attachmentsOf(earlier: Plan, later: Plan): Pick<Plan, 'attachments'> {
  const shift = earlier.storages.length;
  const moved = later.attachments?.map((each) => ('text' in each ? each : { ...each, storage: each.storage + shift }));
  const kept = moved ?? earlier.attachments;
  return kept === undefined ? {} : { attachments: kept };
}

function refreshedNames({ refreshStates, refreshTendencies }: LoadRules): (name: string) => boolean {
  const states = /^(model\.)?(pre|post)_processors\./;
  const tendencies = /^(model\.)?(pre|post)_processors_tendencies\./;
  return (name) => (refreshStates && states.test(name)) || (refreshTendencies && tendencies.test(name));
}
