/** `ckpt gc`: removes workspace blobs that no open run refers to. */
import { CheckpointConfigError } from '../../../errors.ts';
import { clearWorkspace } from '../../../io/workspace/workspace-gc.ts';
import { formatBytes, formatCount } from '../../../model/text.ts';
import { readEnvironment } from '../../environment.ts';
import { ownStorage } from '../../storage.ts';
import { connectTemporal } from '../../temporal/connect.ts';
import { oldestOpenRun } from '../../temporal/visibility.ts';
import { logger, print, printJson, type OutputOptions } from '../output.ts';

const DAY = 24 * 3600 * 1000;
/** Days: a century, and a time that a date can have. */
const LONGEST = 36_500;
/** A run that has just started may not be listed yet: blobs this young (in milliseconds) stay in any case. */
const LEAST_AGE = 3600 * 1000;

interface GcOptions extends OutputOptions {
  readonly olderThan: string;
  readonly dryRun?: boolean;
}

export async function gc(options: GcOptions): Promise<void> {
  const days = Number(options.olderThan);
  if (options.olderThan.trim() === '' || !(days >= 0 && days <= LONGEST))
    throw new CheckpointConfigError(`\`--older-than ${options.olderThan}\`: expected a number of days, from 0 to ${LONGEST}.`);
  const environment = readEnvironment();
  const { workspace } = environment;
  const temporal = await connectTemporal({ log: logger(options), hasWorker: false });
  try {
    if (temporal.kind !== 'configured' && !environment.ownsWorkspace) throw unknownServer(workspace);
    const oldest = await oldestOpenRun(temporal);
    const before = Math.min(Date.now() - Math.max(days * DAY, LEAST_AGE), oldest ?? Infinity);
    const server = { address: temporal.address, namespace: temporal.namespace };
    const cleared = await clearWorkspace(await ownStorage(), workspace, before, options.dryRun === true);
    const report = { workspace, before: new Date(before).toISOString(), dry_run: options.dryRun === true, ...cleared, server };
    if (options.json === true) return printJson(report);
    const what = `${formatCount(cleared.removed, 'blob')}, ${formatBytes(cleared.removed_bytes)}`;
    print([
      workspace,
      `  ${options.dryRun === true ? 'would remove' : 'removed'} ${what} last used before ${report.before}; ${formatCount(cleared.kept, 'blob')} kept`,
      `  as no run that is open at ${server.address} in the namespace ${server.namespace} can need them`,
    ]);
  } finally {
    await temporal.close();
  }
}

/** Runs that are open at another server may need what is there. */
function unknownServer(workspace: string): CheckpointConfigError {
  return new CheckpointConfigError(
    `CKPT_WORKSPACE is ${workspace}, and no server is configured: which runs use this workspace is not known. Set TEMPORAL_ADDRESS to the server whose runs do (and TEMPORAL_NAMESPACE to their namespace).`,
  );
}
