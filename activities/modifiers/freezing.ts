/** `modifier.freezing`: names the parameters that whoever loads the file should not train. */
import { z } from 'zod';
import { CheckpointConfigError } from '../../src/errors.ts';
import { formatCount, formatNumber } from '../../src/model/text.ts';
import { freezeModules } from '../../src/transform/freeze.ts';
import { modifyPlan } from '../modify-plan.ts';
import { refusedBy } from '../option-checks.ts';
import { defineStage } from '../stage.ts';

const paths = z.array(z.string().max(1000)).max(1000);

const options = z
  .strictObject({
    submodules_to_freeze: paths
      .describe("modules whose parameters are frozen: full dotted paths from the model's root; empty text: all")
      .optional(),
    layers: paths.describe('alias of submodules_to_freeze').optional(),
    prefix: z
      .string()
      .max(1000)
      .default('')
      .describe("put in front of every path where the model's names begin with it (`model.model.` for Anemoi's old settings)"),
    strict: z.boolean().default(false).describe('fail on a path that is not a module instead of warning'),
    validate_gradients: z.boolean().default(true).describe('check that no parameter under a frozen path is left out'),
  })
  .superRefine(refusedBy(submodulesOf));

export default defineStage({
  type: 'modifier.freezing',
  description: 'Mark the parameters of modules as frozen, in plan, manifest and the metadata of the published file',
  options,
  run(call) {
    const { prefix, strict, validate_gradients: validateGradients } = call.options;
    const place = `stages[${call.stage.index}].submodules_to_freeze`;
    const submodules = submodulesOf(call.options);
    return modifyPlan(call, (plan, target) => {
      const frozen = freezeModules(plan, target, { submodules, prefix, strict, validateGradients }, place);
      return {
        ...frozen,
        summary: `${formatCount(frozen.newlyFrozen, 'parameter')} frozen, ${formatNumber(frozen.plan.frozen.length)} in all`,
      };
    });
  },
});

interface Submodules {
  readonly submodules_to_freeze?: readonly string[] | undefined;
  readonly layers?: readonly string[] | undefined;
}

/** The list, by whichever of its names it is given. */
function submodulesOf({ submodules_to_freeze: given, layers }: Submodules): readonly string[] {
  if (given !== undefined && layers !== undefined)
    throw new CheckpointConfigError('it is an alias of `submodules_to_freeze`, which is there, too. Keep one of them.', 'layers');
  const submodules = given ?? layers;
  if (submodules === undefined)
    throw new CheckpointConfigError('give the list of modules to freeze, by this name or by its alias `layers`.', 'submodules_to_freeze');
  return submodules;
}
