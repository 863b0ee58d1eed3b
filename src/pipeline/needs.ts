/** What a stage must find in the context before it is run. */
import type { ErrorReport } from '../errors.ts';
import type { CheckpointContext } from '../model/context.ts';
import type { Need } from './contract.ts';
import { isLoader, isSource } from './stage-kinds.ts';

const ADVICE: Readonly<Record<Need, string>> = { checkpoint_data: 'a source', model: 'a loader' };

/** By the kind of the stage, for one that does not say. */
export function usualNeeds(type: string): readonly Need[] {
  if (isLoader(type)) return ['checkpoint_data'];
  return isSource(type) ? [] : ['model'];
}

export function unmetNeeds(context: CheckpointContext, needs: readonly Need[]): readonly Need[] {
  return needs.filter((need) => (need === 'model' ? context.plan : context.header) === undefined);
}

export function unmetReport(type: string, missing: readonly Need[]): ErrorReport {
  const advice = missing.map((need) => ADVICE[need]).join(' and ');
  return {
    type: 'CheckpointError',
    message: `${type} requires ${missing.join(', ')}: put ${advice} before it, and look at the failed stages above.`,
    details: { stage: type, missing_fields: [...missing] },
  };
}
