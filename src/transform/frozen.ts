/** Frozen names in a plan: the list, and the same list in the published file's own metadata, for whoever loads it. */
import type { Plan } from '../model/plan.ts';

/** Key of the published file's string metadata: a JSON list of parameter names. */
export const FROZEN_KEY = 'frozen_parameters';

export function withFrozen(plan: Plan, frozen: readonly string[]): Plan {
  const { [FROZEN_KEY]: _before, ...metadata } = plan.metadata;
  return { ...plan, frozen, metadata: frozen.length === 0 ? metadata : { ...metadata, [FROZEN_KEY]: JSON.stringify(frozen) } };
}
