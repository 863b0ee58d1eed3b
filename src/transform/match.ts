/**
 * The source's weights judged against a target: what fits, what is skipped and why, what is missing. Pure, O(names).
 *
 * Invariant: names compare as exact text; a tensor is selected only if its shape is the target's (or `[1]` for a scalar) and
 * its values can become the target's dtype without changing their kind.
 */
import { CheckpointIncompatibleError, type Json, type JsonObject } from '../errors.ts';
import { dtypeKind, isCastable } from '../model/dtype.ts';
import { float4As } from '../model/float4.ts';
import type { Tensor } from '../model/header.ts';
import type { LeftOut } from '../model/plan.ts';
import { nearNames } from '../model/suggestions.ts';
import type { Target, TargetTensor } from '../model/target.ts';
import { hintText, renameHints } from './rename-hints.ts';

/** Entries of a list in an error's details; the counts beside it are of all. */
const MOST_IN_DETAILS = 100;

export interface NamedTensor {
  readonly name: string;
  readonly tensor: Tensor;
}

export interface Selected {
  readonly source: Tensor;
  readonly target: TargetTensor;
}

export interface Match {
  /** By name, in the source's order. */
  readonly selected: ReadonlyMap<string, Selected>;
  /** Source tensors that are not published, in the source's order. */
  readonly skipped: readonly LeftOut[];
  /** Target names that the source does not have. */
  readonly missing: readonly string[];
  /** Source names that the target does not have. */
  readonly unexpected: readonly string[];
}

export interface MatchRules {
  /** Names must be equal on both sides. */
  readonly strict: boolean;
  /** A different shape is skipped instead of failing. */
  readonly skipMismatched: boolean;
  /** A tensor without a plain dense form is skipped instead of failing. */
  readonly skipUnsupported: boolean;
}

/** Throws `CheckpointIncompatibleError` with the lists and hints where the rules do not let the source go with the target. */
export function matchTarget(source: readonly NamedTensor[], target: Target, rules: MatchRules): Match {
  const wanted = new Map(target.tensors.map((tensor) => [tensor.name, tensor]));
  const has = new Set(source.map(({ name }) => name));
  const selected = new Map<string, Selected>();
  const skipped: LeftOut[] = [];
  const unexpected: string[] = [];
  const mismatched: { name: string; source: Tensor; target: TargetTensor }[] = [];
  const otherKind: { name: string; source: Tensor; target: TargetTensor }[] = [];
  const noForm: { name: string; why: string }[] = [];
  for (const { name, tensor: given } of source) {
    const fit = wanted.get(name);
    const tensor = fit === undefined ? given : float4As(given, fit.dtype);
    if (fit === undefined) {
      unexpected.push(name);
      skipped.push(skip(name, 'not_in_target', tensor, null));
    } else if (tensor.unsupported !== undefined) {
      noForm.push({ name, why: tensor.unsupported });
      skipped.push(skip(name, `unsupported: ${tensor.unsupported}`, tensor, fit));
    } else if (!sameShape(tensor.shape, fit.shape)) {
      mismatched.push({ name, source: tensor, target: fit });
      skipped.push(skip(name, 'shape_mismatch', tensor, fit));
    } else if (!isCastable(tensor.dtype, fit.dtype)) otherKind.push({ name, source: tensor, target: fit });
    else selected.set(name, { source: tensor, target: fit });
  }
  const missing = target.tensors.flatMap(({ name }) => (has.has(name) ? [] : [name]));
  const match = { selected, skipped, missing, unexpected };
  // `[1]` in a scalar's place is a fit; everything else that is not equal is told by both shapes.
  const shapes = mismatched.map(({ name, source: { shape }, target: fit }) => [name, [shape, fit.shape]] as const);

  if (source.length > 0 && target.tensors.length > 0 && unexpected.length === source.length) throw nothingInCommon(match, target);
  if (rules.strict && (missing.length > 0 || unexpected.length > 0)) throw incompatible('Names of source and target differ', match, shapes);
  if (mismatched.length > 0 && !rules.skipMismatched) throw incompatible('Shapes of source and target differ', match, shapes);
  if (noForm.length > 0 && !rules.skipUnsupported) {
    const shown = noForm.slice(0, 5).map(({ name, why }) => `${name} (unsupported: ${why})`);
    throw new CheckpointIncompatibleError(
      `${noForm.length} of the tensors have no plain dense form: ${shown.join(', ')}${rest(noForm.length, 5)}. Leave them out with \`skip_unsupported: true\`.`,
      {
        details: {
          reason: 'unsupported_tensors',
          tensors: noForm.slice(0, MOST_IN_DETAILS).map(({ name, why }) => ({ name, reason: `unsupported: ${why}` })),
        },
      },
    );
  }
  if (otherKind.length > 0) throw kindsDiffer(otherKind);
  // A run that loaded nothing must not publish: what it would publish is the target, or nothing.
  if (source.length > 0 && selected.size === 0)
    throw incompatible('No tensor of the source fits the target', match, shapes, 'nothing_fits');
  return match;
}

/** Equal, or one element for a scalar. */
export function sameShape(source: readonly number[], target: readonly number[]): boolean {
  if (target.length === 0 && source.length === 1) return source[0] === 1;
  return source.length === target.length && source.every((size, axis) => size === target[axis]);
}

function skip(name: string, reason: string, source: Tensor, target: TargetTensor | null): LeftOut {
  return { what: name, reason, details: { source_shape: source.shape, target_shape: target === null ? null : target.shape } };
}

type Shapes = readonly (readonly [name: string, shapes: readonly [source: readonly number[], target: readonly number[]]])[];

function incompatible(what: string, { missing, unexpected }: Match, shapes: Shapes, reason?: string): CheckpointIncompatibleError {
  const hints = renameHints(unexpected, missing);
  const near = hints.length > 0 ? [] : nearPairs(unexpected, missing);
  const text = [
    ...(missing.length > 0 ? [`missing in the source: ${listed(missing)}`] : []),
    ...(unexpected.length > 0 ? [`not in the target: ${listed(unexpected)}`] : []),
    ...(shapes.length > 0
      ? [
          `${shapes.length} of another shape, such as ${shapes[0]![0]} (${shapeText(shapes[0]![1][0])}, target ${shapeText(shapes[0]![1][1])})`,
        ]
      : []),
  ].join('; ');
  const nearText = near.length === 0 ? '' : ` Near names: ${near.map(([a, b]) => `${a} ~ ${b}`).join(', ')}.`;
  return new CheckpointIncompatibleError(`${what}: ${text}.${hintText(hints)}${nearText}`, {
    details: {
      ...(reason === undefined ? {} : { reason }),
      ...listDetails('missing_keys', 'num_missing', missing),
      ...listDetails('unexpected_keys', 'num_unexpected', unexpected),
      ...(shapes.length === 0
        ? {}
        : { shape_mismatches: Object.fromEntries(shapes.slice(0, MOST_IN_DETAILS)) as JsonObject, num_mismatches: shapes.length }),
      ...(hints.length === 0 ? {} : { hints: hints.map((hint): JsonObject => ({ ...hint })) }),
      ...(near.length === 0 ? {} : { near_names: Object.fromEntries(near) }),
    },
  });
}

function nothingInCommon({ missing, unexpected }: Match, target: Target): CheckpointIncompatibleError {
  const hints = renameHints(unexpected, missing);
  return new CheckpointIncompatibleError(
    `No name of the source is in the target${target.uri === null ? '' : ` ${target.uri}`}: the source has ${listed(unexpected)}; the target has ${listed(missing)}.${hintText(hints)}`,
    {
      details: {
        reason: 'no_common_keys',
        ...listDetails('missing_keys', 'num_missing', missing),
        ...listDetails('unexpected_keys', 'num_unexpected', unexpected),
        ...(hints.length === 0 ? {} : { hints: hints.map((hint): JsonObject => ({ ...hint })) }),
      },
    },
  );
}

function kindsDiffer(tensors: readonly { name: string; source: Tensor; target: TargetTensor }[]): CheckpointIncompatibleError {
  const shown = tensors.slice(0, 5).map(({ name, source, target }) => `${name} (${dtypeText(source)}, target ${dtypeText(target)})`);
  return new CheckpointIncompatibleError(
    `${tensors.length} of the tensors would have to change their kind of dtype: ${shown.join(', ')}${rest(tensors.length, 5)}. Values convert within floats, integers, bool and complex only.`,
    {
      details: {
        reason: 'dtype_kind',
        dtype_mismatches: Object.fromEntries(
          tensors.slice(0, MOST_IN_DETAILS).map(({ name, source, target }): [string, Json] => [name, [source.dtype, target.dtype]]),
        ),
        num_mismatches: tensors.length,
      },
    },
  );
}

/** The first unexpected names, each with a missing one that is only a few edits away. */
function nearPairs(unexpected: readonly string[], missing: readonly string[]): readonly (readonly [string, string])[] {
  // Distances cost the product of both lengths: a sample is enough for advice.
  const sample = missing.slice(0, 500);
  return unexpected.slice(0, 5).flatMap((name) => nearNames(name, sample, 1).map((near) => [name, near] as const));
}

function listDetails(key: string, count: string, names: readonly string[]): JsonObject {
  return names.length === 0 ? {} : { [key]: names.slice(0, MOST_IN_DETAILS), [count]: names.length };
}

function listed(names: readonly string[]): string {
  return `${names.slice(0, 5).join(', ')}${rest(names.length, 5)}`;
}

function rest(count: number, shown: number): string {
  return count > shown ? ` and ${count - shown} more` : '';
}

export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

function dtypeText({ dtype }: { readonly dtype: TargetTensor['dtype'] }): string {
  return `${dtype}, ${dtypeKind(dtype)}`;
}
