/** Counts the bytes of a transfer while it goes on, from what it reports of itself: a metric that only jumps at the end says nothing. */
import type { MetricCounter, MetricMeter } from '@temporalio/common';
import type { Output } from '../src/model/context.ts';
import { METRICS } from '../src/pipeline/metrics.ts';

export interface MovedBytes {
  /** The transfer stands at this byte of the file it writes. */
  at(offset: number): void;
  /** The stage has published these. */
  published(outputs: readonly Output[]): void;
}

/** `from`: where an attempt before this one had got to. */
export function movedBytes(meter: MetricMeter, from: number): MovedBytes {
  // Most stages move nothing.
  let counter: MetricCounter | undefined;
  let last = from;
  let counted = 0;
  const count = (bytes: number): void => {
    if (bytes <= 0) return;
    counted += bytes;
    counter ??= meter.createCounter(METRICS.bytes, 'By', 'bytes written to destinations');
    counter.add(bytes);
  };
  return {
    at(offset) {
      // Less than before: the next shard, or one that had to begin anew.
      count(offset >= last ? offset - last : offset);
      last = offset;
    },
    published(outputs) {
      const written = outputs.filter(({ unchanged }) => !unchanged);
      const all = written.reduce((sum, output) => sum + output.size - (output.copied_server_side ?? 0), 0);
      count(all - from - counted);
      if (written.length === 0) return;
      const sizes = meter.createHistogram(METRICS.output, 'int', 'By', 'sizes of published outputs');
      for (const { size } of written) sizes.record(size);
    },
  };
}
