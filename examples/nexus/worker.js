/** The worker of the calling namespace: Temporal's environment configuration says which that is. */
import { fileURLToPath } from 'node:url';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection, Worker } from '@temporalio/worker';

const { connectionOptions, namespace = 'default' } = loadClientConnectConfig();
const connection = await NativeConnection.connect(connectionOptions);
const workflowsPath = fileURLToPath(new URL('workflows.js', import.meta.url));
const worker = await Worker.create({ connection, namespace, taskQueue: 'training', workflowsPath });
await worker.run().finally(() => connection.close());
