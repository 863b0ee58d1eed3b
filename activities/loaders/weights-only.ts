/** `loader.weights_only`: the model's weights, without optimizer, schedulers, callbacks and loops. */
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
  type: 'loader.weights_only',
  description: 'Keep the weights of the state dict; leave optimizer and all other training state out',
  options,
  locations: ['target'],
  run: (call) =>
    loadStage(call, {
      strategy: 'weights_only',
      strict: call.options.strict,
      skipMismatched: false,
      fillByDefault: false,
    }),
});
