/** `loader.transfer_learning`: what of the source fits another model; the rest of that model keeps its own values. */
import { z } from 'zod';
import { aboutTarget, loaderOptions, loadStage, targetNeeded, type LoaderOptions } from '../load-weights.ts';
import { defineStage } from '../stage.ts';

const options = z
  .strictObject({
    skip_mismatched: z.boolean().default(true).describe('skip tensors of another shape than the target; false: fail on them'),
    ...loaderOptions,
  })
  .superRefine(targetNeeded)
  .superRefine(aboutTarget);

export default defineStage<LoaderOptions & { readonly skip_mismatched: boolean }>({
  type: 'loader.transfer_learning',
  description: "Take every tensor that fits the target; the target's own values fill the rest, so that the file is complete",
  options,
  locations: ['target'],
  run: (call) =>
    loadStage(call, {
      strategy: 'transfer_learning',
      strict: false,
      skipMismatched: call.options.skip_mismatched,
      fillByDefault: true,
    }),
});
