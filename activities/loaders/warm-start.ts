/** `loader.warm_start`: weights and training state, so that training goes on from the published file. */
import { z } from 'zod';
import type { JsonObject } from '../../src/errors.ts';
import { readScalar } from '../../src/io/copy/read-scalar.ts';
import type { Header } from '../../src/model/header.ts';
import { bestTensor, trainingProgress } from '../../src/transform/training-progress.ts';
import { aboutTarget, loaderOptions, loadStage, type LoaderOptions } from '../load-weights.ts';
import { defineStage, type StageCall } from '../stage.ts';

const options = z.strictObject(loaderOptions).superRefine(aboutTarget);

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
      keepTrainingState: true,
      metadata: (header) => progressOf(header, call),
    }),
});

/** With the best metric also where it is a tensor, whose value is read. */
async function progressOf(header: Header, { services, signal }: StageCall<LoaderOptions>): Promise<JsonObject> {
  const tensor = bestTensor(header);
  if (tensor === undefined) return trainingProgress(header);
  try {
    const value = await readScalar(tensor, header, (file) => services.openPinned(file), signal);
    // JSON has no other numbers.
    return trainingProgress(header, Number.isFinite(value) ? value : undefined);
  } catch (error) {
    if (signal.aborted) throw error;
    // What is published needs no value of it, and says itself what is wrong with the file.
    const { warnings, ...progress } = trainingProgress(header);
    const unread = `\`best_metric\` was not read: ${(error as Error).message}`;
    return { ...progress, warnings: [...(Array.isArray(warnings) ? warnings : []), unread] };
  }
}
