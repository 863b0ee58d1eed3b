/** Which tensors a load takes, and from where: of the source, and of the target where there is one. */
import { CheckpointConfigError, CheckpointIncompatibleError } from '../errors.ts';
import { elementCount } from '../model/dtype.ts';
import { appended, type Header, type Stored, type Tensor } from '../model/header.ts';
import type { LeftOut, PlannedTensor } from '../model/plan.ts';
import type { Target, TargetTensor } from '../model/target.ts';
import { noDenseForm } from './left-out.ts';
import type { Fill, LoadRules } from './load-rules.ts';
import { matchTarget, type Match, type NamedTensor } from './match.ts';
import { NO_REFRESH } from './refreshed.ts';
import { placeOf } from './ties.ts';

export interface Tie {
  readonly name: string;
  /** The transferred name. */
  readonly to: string;
}

export interface Chosen {
  readonly stored: Stored;
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

export function withoutTarget(header: Header, source: readonly NamedTensor[], rules: LoadRules): Chosen {
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
    stored: header,
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

export function withTarget(
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
  const stored = takes.length === 0 ? header : appended(header, target);
  const own = (origin: Tensor): Tensor => ({ ...origin, storage: origin.storage + header.storages.length });
  const taken = new Set(takes.map(({ name }) => name));
  const tensors = target.tensors.flatMap(({ name, dtype, shape, origin }): PlannedTensor[] => {
    if (taken.has(name)) return [{ name, dtype, shape, origin: own(origin!) }];
    const fit = match.selected.get(tiedTo.get(name) ?? name);
    return fit === undefined ? [] : [{ name, dtype, shape, origin: fit.source }];
  });
  const unfilled = target.tensors.length - tensors.length - withoutBytes.length;
  return {
    stored,
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
