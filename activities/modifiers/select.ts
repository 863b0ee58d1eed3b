/** `modifier.select`: which tensors are published, by globs over their names. */
import { z } from 'zod';
import { formatCount, formatNumber } from '../../src/model/text.ts';
import { compileGlob } from '../../src/transform/patterns.ts';
import { chooseTensors } from '../../src/transform/select-tensors.ts';
import { modifyPlan } from '../modify-plan.ts';
import { refusedBy } from '../option-checks.ts';
import { defineStage } from '../stage.ts';

const glob = z
  .string()
  .min(1)
  .superRefine(refusedBy((text) => compileGlob(text, '')));
const globs = z.array(glob).max(100);

const options = z.strictObject({
  include: globs.min(1).default(['*']).describe('globs over whole names: * any characters (dots too), ? one, [ab], {a,b}'),
  exclude: globs.default([]).describe('globs of what is left out all the same'),
});

export default defineStage({
  type: 'modifier.select',
  description: 'Publish only the tensors whose names fit some include glob and no exclude glob',
  options,
  run: (call) =>
    modifyPlan(call, function* (plan, _target, configPath) {
      const chosen = yield* chooseTensors(plan, call.options, configPath);
      return {
        ...chosen,
        leavesTarget: true,
        entry: { type: 'select', num_removed: chosen.removed },
        summary: `${formatCount(chosen.plan.tensors.length, 'tensor')} of ${formatNumber(plan.tensors.length)} kept`,
      };
    }),
});
