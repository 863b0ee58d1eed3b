/** `ckpt setup`: what a Temporal server needs for runs to be found by what they are about, and reached from elsewhere. */
import { CheckpointConfigError } from '../../../errors.ts';
import { connectTemporal } from '../../temporal/connect.ts';
import { registerEndpoint } from '../../temporal/nexus-endpoint.ts';
import { registerAttributes } from '../../temporal/search-attributes.ts';
import { logger, print, printJson, type OutputOptions } from '../output.ts';

export interface SetupOptions extends OutputOptions {
  readonly nexusEndpoint?: string;
}

export async function setup(options: SetupOptions): Promise<void> {
  const temporal = await connectTemporal({ log: logger(options), hasWorker: false });
  try {
    const { present, missing, conflicting } = await registerAttributes(temporal.connection, temporal.namespace);
    const lacking = [...missing, ...conflicting];
    if (lacking.length > 0)
      throw new CheckpointConfigError(
        `${temporal.address} has no search attribute of the right type for ${lacking.join(', ')}${conflicting.length === 0 ? '' : ': there is one of that name and another type; rename or remove it'}.`,
        undefined,
        { details: { missing, conflicting } },
      );
    const { address, namespace } = temporal;
    const endpoint =
      options.nexusEndpoint === undefined ? null : await registerEndpoint(temporal.connection, options.nexusEndpoint, namespace);
    if (options.json === true) return printJson({ address, namespace, search_attributes: present, nexus_endpoint: endpoint });
    print(`${address}, namespace ${namespace}: search attributes ${present.join(', ')}`);
    if (endpoint !== null) print(`Nexus endpoint ${endpoint.name}: task queue ${endpoint.task_queue} of that namespace`);
  } finally {
    await temporal.close();
  }
}
