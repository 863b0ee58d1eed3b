/** `modifier.cast`: dtypes by glob; values are converted while they are published, as torch's `.to()` does. */
import { z } from 'zod';
import { dtypeKind, dtypeNamed, isCastable, type Dtype } from '../../src/model/dtype.ts';
import { formatCount, formatNumber } from '../../src/model/text.ts';
import { castTensors } from '../../src/transform/cast-tensors.ts';
import { compileGlob } from '../../src/transform/patterns.ts';
import { briefList } from '../../src/transform/record.ts';
import { modifyPlan } from '../modify-plan.ts';
import { notAList, refusedBy } from '../option-checks.ts';
import { defineStage } from '../stage.ts';

const dtype = z.string().refine((name) => isFloat(dtypeNamed(name)), {
  error: 'expected a float dtype such as F32, F16, BF16, F64, F8_E4M3 or torch.bfloat16',
});

const names = z
  .string({
    error: ({ input }) => (Array.isArray(input) ? 'expected one glob, as text, got a list: write a rule for each of them' : undefined),
  })
  .min(1)
  .superRefine(refusedBy((glob) => compileGlob(glob, '')));

const options = z
  .strictObject({
    dtype: dtype.describe('for all floating-point tensors that no rule fits').optional(),
    rules: z
      .array(z.strictObject({ names: names.describe('glob over whole names'), dtype }), { error: notAList('{names: …, dtype: …}') })
      .max(100)
      .default([])
      .describe('the first rule that fits a name decides'),
  })
  .refine(({ dtype, rules }) => dtype !== undefined || rules.length > 0, { path: ['dtype'], error: 'give `dtype` or `rules`' });

export default defineStage({
  type: 'modifier.cast',
  description: 'Convert floating-point tensors to another float dtype, bit-equal with torch; others keep theirs',
  options,
  run: (call) =>
    modifyPlan(call, function* (plan, _target, configPath) {
      const { dtype: all, rules } = call.options;
      const given = [...rules, ...(all === undefined ? [] : [{ names: '*', dtype: all }])];
      const recast = yield* castTensors(
        plan,
        given.map(({ names, dtype }) => ({ names, dtype: dtypeNamed(dtype)! })),
        configPath,
      );
      return {
        plan: recast.plan,
        entry: { type: 'cast', num_casts: recast.casts.length, casts: recast.casts },
        metadata: briefList('casts', 'num_casts', recast.casts),
        warnings: recast.warnings,
        summary: `${formatCount(recast.casts.length, 'tensor')} to convert${recast.left === 0 ? '' : `, ${formatNumber(recast.left)} are not floats and stay`}`,
      };
    }),
});

function isFloat(dtype: Dtype | undefined): boolean {
  return dtype !== undefined && dtypeKind(dtype) === 'float' && isCastable('F32', dtype);
}
