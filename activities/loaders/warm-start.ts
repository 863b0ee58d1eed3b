/** `loader.warm_start`: weights and training state, so that training goes on from the published file. */
import { z } from 'zod';
import { trainingProgress } from '../../src/transform/training-progress.ts';
import { fillable, loaderOptions, loadStage, type LoaderOptions } from '../load-weights.ts';
import { defineStage } from '../stage.ts';

const options = z.strictObject(loaderOptions).superRefine(fillable);

export default defineStage<LoaderOptions>({
  type: 'loader.warm_start',
  description: 'Keep weights, optimizer, schedulers, loops and callbacks: what resuming a training needs; strict against a target',
  options,
  locations: ['target'],
  run: (call) =>
    loadStage(call, {
      strategy: 'warm_start',
      // Without a target there is nothing to be strict about: all of the source goes along.
      strict: call.options.target !== undefined,
      skipMismatched: false,
      fillByDefault: false,
      needsTarget: false,
      keepTrainingState: true,
      metadata: trainingProgress,
    }),
});
