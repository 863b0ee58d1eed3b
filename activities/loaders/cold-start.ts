/** `loader.cold_start`: pretrained weights for a training that begins at epoch 0. */
import { z } from 'zod';
import { aboutTarget, loaderOptions, loadStage, type LoaderOptions } from '../load-weights.ts';
import { defineStage } from '../stage.ts';

const options = z
  .strictObject({
    strict: z.boolean().default(false).describe('names of source and target must be equal; needs a target'),
    ...loaderOptions,
  })
  .superRefine(aboutTarget);

export default defineStage<LoaderOptions & { readonly strict: boolean }>({
  type: 'loader.cold_start',
  description: 'Keep the weights for a new training: epoch and step 0, no training state, and where they came from',
  options,
  locations: ['target'],
  run: (call) =>
    loadStage(call, {
      strategy: 'cold_start',
      strict: call.options.strict,
      skipMismatched: false,
      fillByDefault: false,
      metadata: () => ({ epoch: 0, global_step: 0, pretrained_from: call.context.source?.uri ?? null }),
    }),
});
