/** `modifier.drop_training_state`: publishes weights only, whatever the loader kept beside them. */
import { z } from 'zod';
import { topLevelKeys } from '../../src/model/tree.ts';
import { modifyPlan } from '../modify-plan.ts';
import { defineStage } from '../stage.ts';

export default defineStage({
  type: 'modifier.drop_training_state',
  description: 'Leave optimizer, schedulers and all other training state out of what is published',
  options: z.strictObject({}),
  run: (call) =>
    modifyPlan(call, ({ trainingState, stateTensors: _state, ...plan }) => {
      if (trainingState === undefined) return { plan, summary: 'there was no training state' };
      const keys = topLevelKeys(trainingState);
      return {
        plan: { ...plan, dropped: [...plan.dropped, ...keys.map((what) => ({ what, reason: 'drop_training_state' }))] },
        entry: { type: 'drop_training_state', dropped: keys },
        summary: `left out: ${keys.join(', ').slice(0, 300)}`,
      };
    }),
});
