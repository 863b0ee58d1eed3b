/** The Nexus endpoint by which other namespaces reach our workers: a name for one namespace and task queue, on the server. */
import type { ConnectionLike } from '@temporalio/client';
import { CheckpointConfigError, textOf } from '../../errors.ts';
import { TASK_QUEUE } from '../../pipeline/contract.ts';

export interface NexusEndpoint {
  readonly name: string;
  readonly namespace: string;
  readonly task_queue: string;
}

/** Creates the endpoint; one that leads to the same place is fine, one that leads elsewhere a `CheckpointConfigError`. */
export async function registerEndpoint(connection: ConnectionLike, name: string, namespace: string): Promise<NexusEndpoint> {
  const wanted: NexusEndpoint = { name, namespace, task_queue: TASK_QUEUE };
  try {
    const { endpoints } = await connection.operatorService.listNexusEndpoints({ name });
    const there = endpoints?.[0]?.spec?.target;
    if (there === undefined || there === null) {
      await connection.operatorService.createNexusEndpoint({ spec: { name, target: { worker: { namespace, taskQueue: TASK_QUEUE } } } });
      return wanted;
    }
    if (there.worker?.namespace === namespace && there.worker.taskQueue === TASK_QUEUE) return wanted;
    const elsewhere = there.worker == null ? 'another server' : `${there.worker.namespace}, task queue ${there.worker.taskQueue}`;
    throw new CheckpointConfigError(`The Nexus endpoint ${name} leads to ${elsewhere}. Take another name, or change that one.`, undefined, {
      details: { ...wanted },
    });
  } catch (cause) {
    if (cause instanceof CheckpointConfigError) throw cause;
    throw new CheckpointConfigError(
      `The Nexus endpoint ${name} could not be created: ${textOf((cause as Error).cause ?? cause)}. Whoever administers the server may do it with \`temporal operator nexus endpoint create --name ${name} --target-namespace ${namespace} --target-task-queue ${TASK_QUEUE}\`.`,
      undefined,
      { cause, details: { ...wanted } },
    );
  }
}
