/** The SDK's native part, once per process: its log, and where a port is given its metrics with ours among them. */
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { CheckpointConfigError, textOf } from '../errors.ts';
import { BYTE_BUCKETS, METRICS } from '../pipeline/metrics.ts';
import { addressText, type Address } from './addresses.ts';

let installed = false;

/** Core's own log goes to stderr and only where something is wrong; signals are the CLI's business. */
export function installRuntime({ metrics }: { readonly metrics?: Address | undefined } = {}): void {
  if (installed) return;
  installed = true;
  const logger = new DefaultLogger('ERROR', (entry) => process.stderr.write(`${entry.level}: ${entry.message}\n`));
  const logging = { forward: {}, filter: 'ERROR' };
  const telemetryOptions = metrics === undefined ? { logging } : { logging, metrics: prometheus(metrics) };
  try {
    Runtime.install({ shutdownSignals: [], logger, telemetryOptions });
  } catch (cause) {
    if (metrics === undefined) throw cause;
    throw new CheckpointConfigError(`The metrics cannot be served on ${addressText(metrics)}: ${textOf(cause)}.`, undefined, { cause });
  }
}

function prometheus(address: Address) {
  return {
    prometheus: {
      bindAddress: addressText(address),
      countersTotalSuffix: true,
      // The usual buckets are those of milliseconds.
      histogramBucketOverrides: { [METRICS.output]: BYTE_BUCKETS },
    },
  };
}
