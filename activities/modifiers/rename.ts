/** `modifier.rename`: new names by a prefix stripped, regular expressions in order, a prefix added. */
import { z } from 'zod';
import { formatCount, formatNumber } from '../../src/model/text.ts';
import { compileRegex } from '../../src/transform/patterns.ts';
import { renameTensors } from '../../src/transform/rename.ts';
import { modifyPlan } from '../modify-plan.ts';
import { notAList, refusedBy } from '../option-checks.ts';
import { defineStage } from '../stage.ts';

const options = z
  .strictObject({
    strip_prefix: z.string().min(1).max(1000).describe('removed first from names that begin with it').optional(),
    rules: z
      .array(
        z.strictObject({
          pattern: z
            .string()
            .min(1)
            .superRefine(refusedBy((pattern) => compileRegex(pattern, '')))
            .describe("regular expression in RE2's syntax: no lookaround, no backreferences"),
          replacement: z.string().max(1000).describe('for every match: $1, $<name>, $& and $$ as in JavaScript'),
        }),
        { error: notAList('{pattern: …, replacement: …}') },
      )
      .max(100)
      .default([])
      .describe('applied in order, each to what the one before it made'),
    add_prefix: z.string().min(1).max(1000).describe('put in front last').optional(),
  })
  .refine(({ strip_prefix, rules, add_prefix }) => strip_prefix !== undefined || add_prefix !== undefined || rules.length > 0, {
    path: ['rules'],
    error: 'give `rules`, `strip_prefix` or `add_prefix`',
  });

export default defineStage({
  type: 'modifier.rename',
  description: 'Rename tensors by ordered rules; two names that become one are an error',
  options,
  run: (call) =>
    modifyPlan(call, function* (plan, _target, configPath) {
      const { strip_prefix: stripPrefix, rules, add_prefix: addPrefix } = call.options;
      const renamed = yield* renameTensors(plan, { stripPrefix, rules, addPrefix }, configPath);
      return {
        ...renamed,
        leavesTarget: true,
        entry: { type: 'rename', num_renamed: renamed.count },
        summary: `${formatCount(renamed.count, 'tensor')} renamed of ${formatNumber(plan.tensors.length)}`,
      };
    }),
});
