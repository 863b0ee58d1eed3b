/** Frozen names in a plan. */
import { FROZEN_KEY, type Plan } from '../model/plan.ts';

/** In place of all names that were frozen before, those that the source's own metadata has included. */
export function withFrozen(plan: Plan, frozen: readonly string[]): Plan {
  const { [FROZEN_KEY]: _before, ...metadata } = plan.metadata;
  return { ...plan, frozen, metadata };
}
