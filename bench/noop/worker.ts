/** A worker of the no-op workflow, in a process of its own as the pipeline's is: `worker.js ADDRESS TASK_QUEUE`, until SIGTERM. */
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';

const [address, taskQueue] = process.argv.slice(2);
if (address === undefined || taskQueue === undefined) throw new Error('usage: worker.js ADDRESS TASK_QUEUE');
const logger = new DefaultLogger('ERROR', ({ message }) => process.stderr.write(`${message}\n`));
Runtime.install({ logger, telemetryOptions: { logging: { forward: {}, filter: 'ERROR' } } });
const connection = await NativeConnection.connect({ address });
const worker = await Worker.create({
  connection,
  taskQueue,
  workflowBundle: await bundleWorkflowCode({ workflowsPath: fileURLToPath(new URL('./workflows.js', import.meta.url)), logger }),
  activities: { noop: async (input: { readonly index: number }) => input },
  // As the pipeline's worker has them.
  maxHeartbeatThrottleInterval: '1s',
  stickyQueueScheduleToStartTimeout: '2s',
});
process.stderr.write('ready\n');
await worker.run().finally(() => connection.close());
