/** All weights of a checkpoint, with no target to judge them: header → plan. */
import type { Header } from '../model/header.ts';
import type { Plan } from '../model/plan.ts';
import { loadWeights } from './load.ts';

/** Throws `CheckpointIncompatibleError` naming tensors without a dense form, unless they may be skipped. */
export function selectWeights(header: Header, { skipUnsupported }: { readonly skipUnsupported: boolean }): Plan {
  const rules = {
    strict: false,
    skipMismatched: false,
    skipUnsupported,
    fill: 'none',
    refreshStates: false,
    refreshTendencies: false,
  } as const;
  return loadWeights(header, undefined, rules).plan;
}
