/** `ckpt setup`: what a Temporal server needs for runs to be found by what they are about. */
import { CheckpointConfigError } from '../../../errors.ts';
import { connectTemporal } from '../../temporal/connect.ts';
import { registerAttributes } from '../../temporal/search-attributes.ts';
import { logger, printJson, type OutputOptions } from '../output.ts';

export async function setup(options: OutputOptions): Promise<void> {
  const temporal = await connectTemporal({ log: logger(options) });
  try {
    const { present, missing, conflicting } = await registerAttributes(temporal.connection, temporal.namespace);
    const lacking = [...missing, ...conflicting];
    if (lacking.length > 0)
      throw new CheckpointConfigError(
        `${temporal.address} has no search attribute of the right type for ${lacking.join(', ')}${conflicting.length === 0 ? '' : ': there is one of that name and another type; rename or remove it'}.`,
        undefined,
        { details: { missing, conflicting } },
      );
    if (options.json === true) return printJson({ address: temporal.address, namespace: temporal.namespace, search_attributes: present });
    process.stdout.write(`${temporal.address}, namespace ${temporal.namespace}: search attributes ${present.join(', ')}\n`);
  } finally {
    await temporal.close();
  }
}
