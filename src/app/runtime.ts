/** The SDK's native part, once per process: its log, and where a port is given its metrics with ours among them. */
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { BYTE_BUCKETS, METRICS } from '../pipeline/metrics.ts';
import { addressText, refusedAddress, type Address } from './addresses.ts';

let installed: Runtime | null = null;

/** Core's own log goes to stderr and only where something is wrong; signals are the CLI's business. */
export function installRuntime({ metrics }: { readonly metrics?: Address | undefined } = {}): void {
  if (installed !== null) return;
  const logger = new DefaultLogger('ERROR', (entry) => process.stderr.write(`${entry.level}: ${entry.message}\n`));
  const logging = { forward: {}, filter: 'ERROR' };
  const telemetryOptions = metrics === undefined ? { logging } : { logging, metrics: prometheus(metrics) };
  try {
    installed = Runtime.install({ shutdownSignals: [], logger, telemetryOptions });
  } catch (cause) {
    if (metrics === undefined) throw cause;
    throw refusedAddress('The metrics endpoint', metrics, '`--metrics-port` or CKPT_METRICS_PORT', cause);
  }
}

/** It keeps the process until its last connection is closed, or where there was none, until this. */
export async function endRuntime(): Promise<void> {
  await installed?.shutdown();
  installed = null;
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
