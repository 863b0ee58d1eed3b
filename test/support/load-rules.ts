/** What a loader does where nothing else is asked of it. */
import type { LoadRules } from '../../src/transform/load-rules.ts';

export const RULES: LoadRules = {
  strict: false,
  skipMismatched: false,
  skipUnsupported: false,
  fill: 'none',
  refreshStates: false,
  refreshTendencies: false,
};
