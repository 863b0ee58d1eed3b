// @ts-check
/** `modifier.drop_buffers`: publishes parameters only, for consumers that keep their own counters and statistics. */
import { compileGlob, defineStage, dtypeKind, modifyPlan, z } from 'checkpoint-pipeline/plugin';

const options = z.strictObject({
  names: z.array(z.string().min(1)).default(['*.running_mean', '*.running_var']).describe('globs of further names to leave out'),
});

export default defineStage({
  type: 'modifier.drop_buffers',
  description: 'Leave out tensors that are not floats, and those whose names fit a glob',
  options,
  run: (call) =>
    modifyPlan(call, (plan, _target, configPath) => {
      const fits = call.options.names.map((glob, index) => compileGlob(glob, `${configPath}.names[${index}]`));
      const isBuffer = ({ name, dtype }) => dtypeKind(dtype) !== 'float' || fits.some((fit) => fit(name));
      const dropped = plan.tensors.filter(isBuffer).map(({ name }) => ({ what: name, reason: 'buffer' }));
      return {
        plan: { ...plan, tensors: plan.tensors.filter((tensor) => !isBuffer(tensor)), skipped: [...plan.skipped, ...dropped] },
        // Later stages must not judge by a target that this plan does not cover any more.
        leavesTarget: true,
        entry: { type: 'drop_buffers', num_dropped: dropped.length },
        summary: `${dropped.length} buffers left out`,
      };
    }),
});
