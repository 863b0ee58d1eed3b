/** `loader.weights_only`: the model's weights, without optimizer, schedulers, callbacks and loops. */
import { z } from 'zod';
import { CheckpointError } from '../../src/errors.ts';
import type { Header } from '../../src/model/header.ts';
import type { Plan } from '../../src/model/plan.ts';
import { formatCount } from '../../src/pipeline/text.ts';
import { selectWeights } from '../../src/transform/select-weights.ts';
import { defineStage } from '../stage.ts';

const options = z.strictObject({
  skip_unsupported: z
    .boolean()
    .default(false)
    .describe('leave out tensors without a plain dense form (sparse, quantized) instead of failing'),
});

export default defineStage({
  type: 'loader.weights_only',
  description: 'Keep the weights of the state dict; leave optimizer and all other training state out',
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
    const plan = selectWeights(header, { skipUnsupported });
    const metadata = { ...context.metadata, loading_strategy: 'weights_only', weights_initialized: plan.tensors.length > 0 };
    return {
      context: { ...context, plan: await workspace.putJson(plan), metadata, weightsLoaded: plan.tensors.length > 0 },
      summary: `${formatCount(plan.tensors.length, 'tensor')} selected, ${plan.skipped.length} skipped${leftOut(plan.dropped)}`,
    };
  },
});

/** Names of what stays behind: all are in the manifest, the first in the summary. */
function leftOut(dropped: Plan['dropped']): string {
  if (dropped.length === 0) return '';
  const names = dropped.slice(0, 10).map(({ what }) => what.slice(0, 40));
  return `; weights only, so left out: ${names.join(', ')}${dropped.length > names.length ? ' …' : ''}`;
}
