/** Statistics of processors, which a loader may take from the target whatever the source has. */
import type { LeftOut } from '../model/plan.ts';
import type { Target } from '../model/target.ts';
import type { LoadRules } from './load-rules.ts';
import type { NamedTensor } from './match.ts';

/** The reason of a name that is to be refreshed where there are no values to do it with. */
export const NO_REFRESH = 'refresh_without_values';

export function refreshedNames({ refreshStates, refreshTendencies }: LoadRules): (name: string) => boolean {
  const states = /^(model\.)?(pre|post)_processors\./;
  const tendencies = /^(model\.)?(pre|post)_processors_tendencies\./;
  return (name) => (refreshStates && states.test(name)) || (refreshTendencies && tendencies.test(name));
}

/** Names to be refreshed that neither source nor target gives a value for; the others are not compared with the target either. */
export function unrefreshed(
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

export function withoutValues(skipped: readonly LeftOut[], target: Target | undefined): readonly string[] {
  const names = skipped.flatMap(({ what, reason }) => (reason === NO_REFRESH ? [what] : []));
  if (names.length === 0) return [];
  const why = target === undefined ? 'there is no target to take them from' : 'the target has no values for them';
  return [
    `${names.length} processor statistics are to be refreshed and were left out, as ${why}: ${names.slice(0, 5).join(', ')}${names.length > 5 ? ' …' : ''}. A checkpoint as \`target\` has values; without \`refresh_states\` and \`refresh_tendencies\` the source's own are taken.`,
  ];
}
