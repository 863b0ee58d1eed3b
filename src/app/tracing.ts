/**
 * OpenTelemetry traces of runs, where OTEL_EXPORTER_OTLP_ENDPOINT (or …_TRACES_ENDPOINT) is set. The exporter and the SDK read
 * OpenTelemetry's other variables themselves: headers, time-outs, OTEL_SERVICE_NAME, sampling. All of it is loaded only then.
 */
import type { OpenTelemetryPlugin } from '@temporalio/interceptors-opentelemetry';
import { CheckpointConfigError, textOf } from '../errors.ts';

export interface Tracing {
  readonly plugin: OpenTelemetryPlugin;
  /** Sends what is left. */
  close(): Promise<void>;
}

const SERVICE = 'ckpt-worker';

export async function startTracing(): Promise<Tracing> {
  const [interceptors, sdk, exporter, resources, hooks] = await Promise.all([
    import('@temporalio/interceptors-opentelemetry'),
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/exporter-trace-otlp-proto'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/context-async-hooks'),
  ]).catch((cause: unknown) => {
    throw new CheckpointConfigError(
      `Traces are configured (OTEL_EXPORTER_OTLP_ENDPOINT), but the optional packages for them are not installed: ${textOf(cause)}. Install without \`--omit=optional\`, or unset the variable.`,
      undefined,
      { cause },
    );
  });
  const resource = new resources.Resource({ 'service.name': SERVICE }).merge(resources.envDetectorSync.detect());
  const spanProcessor = new sdk.BatchSpanProcessor(new exporter.OTLPTraceExporter());
  const provider = new sdk.BasicTracerProvider({ resource, spanProcessors: [spanProcessor] });
  // Without a context manager the spans of a run's activities would be traces of their own.
  provider.register({ contextManager: new hooks.AsyncLocalStorageContextManager() });
  return { plugin: new interceptors.OpenTelemetryPlugin({ resource, spanProcessor }), close: () => provider.shutdown() };
}
