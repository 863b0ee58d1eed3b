/** `loader.warm_start`: weights and training state, so that training goes on from the published file. */
import { z } from 'zod';
import { CheckpointError } from '../../src/errors.ts';
import type { Header } from '../../src/model/header.ts';
import { formatCount } from '../../src/pipeline/text.ts';
import { keepTrainingState } from '../../src/transform/keep-training-state.ts';
import { selectWeights } from '../../src/transform/select-weights.ts';
import { defineStage } from '../stage.ts';

const options = z.strictObject({
  skip_unsupported: z
    .boolean()
    .default(false)
    .describe('leave out tensors without a plain dense form (sparse, quantized) instead of failing'),
});

export default defineStage({
  type: 'loader.warm_start',
  description: 'Keep weights, optimizer, schedulers, loops and callbacks: what resuming a training needs',
  options,
  async run({ context, options: { skip_unsupported: skipUnsupported }, stage, run, services }) {
    if (context.header === undefined) {
      throw new CheckpointError(`${stage.type} requires checkpoint_data: put a source before it.`, {
        retryable: false,
        details: { stage: stage.type, missing_fields: ['checkpoint_data'] },
      });
    }
    const workspace = services.workspace(run.workspace);
    // The workspace verifies the digest: what is read is the header that a source of this run wrote.
    const header = (await workspace.getJson(context.header)) as Header;
    const plan = keepTrainingState(header, selectWeights(header, { skipUnsupported }));
    const { training } = header;
    const absent = [...(training.has_optimizer ? [] : ['optimizer state']), ...(training.has_scheduler ? [] : ['scheduler state'])];
    const metadata = {
      ...context.metadata,
      loading_strategy: 'warm_start',
      weights_initialized: plan.tensors.length > 0,
      epoch: training.epoch ?? 0,
      global_step: training.global_step ?? 0,
      ...(absent.length === 0 ? {} : { warnings: absent.map((what) => `the checkpoint has no ${what}`) }),
    };
    const state = formatCount(plan.stateTensors?.length ?? 0, 'tensor');
    return {
      context: { ...context, plan: await workspace.putJson(plan), metadata, weightsLoaded: plan.tensors.length > 0 },
      summary: `${formatCount(plan.tensors.length, 'tensor')} selected, training state with ${state}${absent.length === 0 ? '' : `, no ${absent.join(', no ')}`}`,
    };
  },
});
