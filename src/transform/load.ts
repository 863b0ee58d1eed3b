/**
 * What every loader does: source header, and a target where there is one → plan. Pure, O(tensors).
 *
 * In this order: migration of old names, refresh of processors, selection, filling from the target, overlay over what an
 * earlier loader of the same run selected. Invariant: what is published has the target's names, shapes, dtypes and order.
 */
import { CheckpointIncompatibleError, type JsonObject } from '../errors.ts';
import { BUFFERS_UNKNOWN, RANKS_UNKNOWN, type Header } from '../model/header.ts';
import { WEIGHTS_ONLY, type LeftOut, type Plan } from '../model/plan.ts';
import type { Target } from '../model/target.ts';
import { withoutTarget, withTarget, type Tie } from './choose-weights.ts';
import { nameToIndex } from './index-metadata.ts';
import { carriedAlong, keepTrainingState } from './keep-training-state.ts';
import { attributesWithTensors, leftOutAttributes, otherContent, withTensors } from './left-out.ts';
import type { LoadRules } from './load-rules.ts';
import type { NamedTensor } from './match.ts';
import { chunkingFix } from './migration.ts';
import { attributesWithPrefixes, withPrefixes } from './module-paths.ts';
import { overlaid } from './overlay.ts';
import { refreshedNames, unrefreshed, withoutValues } from './refreshed.ts';
import { refuseTwins } from './rename.ts';
import { staleState } from './stale-state.ts';

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
    files: chosen.stored.files,
    storages: chosen.stored.storages,
    tensors: chosen.tensors,
    ...carried,
    ...(stateDictAttributes === undefined ? {} : { stateDictAttributes: attributesWithPrefixes(stateDictAttributes, rules) }),
    frozen: earlier?.frozen ?? [],
    skipped: [...chosen.skipped, ...unrefreshed(all, target, isRefreshed), ...nonTensors],
    dropped: otherContent(header).map((what) => ({ what, reason: WEIGHTS_ONLY })),
    metadata: header.metadata,
  };
  const whole = rules.keepTrainingState === true ? keepTrainingState(header, weights) : weights;
  const fresh = { ...whole, dropped: [...whole.dropped, ...leftOutAttributes(header)] };
  const won = new Set([...chosen.transferred, ...chosen.tied.map(({ name }) => name)]);
  const renamed = isRenamed ? header.weights.filter(({ name }) => named(name) !== name).length : 0;
  const warnings = [
    ...(migration.warning === undefined ? [] : [migration.warning]),
    ...unused(header, rules),
    ...nested(header),
    ...besideWeights(header),
    ...notKnown(header),
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

/** Warnings of values that hold tensors, and of attributes that do; the last one counts the rest. */
const NESTED_TOLD = 10;

/** A state dict is flat: what lies deeper was perhaps meant to be there. */
function nested(header: Header): readonly string[] {
  return toldFew(
    withTensors(header),
    ({ name, is, tensors }) => {
      const advice =
        is === 'a dict'
          ? 'Name its key with `state_dict_key` of the source, or save the dict flat.'
          : 'Save them under names of their own.';
      return `${name} is ${is} with tensors (${tensors}), which are left out: a state dict is flat. ${advice}`;
    },
    'values of the state dict',
  );
}

/** A program may compute with what it keeps beside its weights. */
function besideWeights(header: Header): readonly string[] {
  return toldFew(
    attributesWithTensors(header),
    ({ name, is, tensors }) =>
      `${name} (${is}) holds tensors (${tensors}), which are left out: a state dict has no place for them. Save them under names of their own.`,
    'attributes',
  );
}

function toldFew<Each extends { readonly tensors: number }>(
  all: readonly Each[],
  tell: (each: Each) => string,
  what: string,
): readonly string[] {
  const told = all.slice(0, all.length > NESTED_TOLD ? NESTED_TOLD - 1 : NESTED_TOLD);
  const rest = all.slice(told.length);
  if (rest.length === 0) return told.map(tell);
  const held = rest.reduce((sum, { tensors }) => sum + tensors, 0);
  return [...told.map(tell), `${rest.length} more ${what} hold tensors (${held}), which are left out as well.`];
}

/** Of the files of some ranks nothing says whether there were more, of old scripted modules which tensors are plain attributes. */
function notKnown({ findings }: Header): readonly string[] {
  return findings.flatMap(({ code, message }) => {
    if (code === RANKS_UNKNOWN) return [`Rows of tensors may be missing: ${message}.`];
    return code === BUFFERS_UNKNOWN ? [`Plain attributes may be among the tensors: ${message}.`] : [];
  });
}
