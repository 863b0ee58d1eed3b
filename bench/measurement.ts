/** What a row of the bench says: our figure, the peer's of the same minutes, and whether the budget holds. */

/** Several runs of one thing. */
export interface Sample {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly runs: readonly number[];
}

export type Unit = 'ms' | 'bytes' | 'count';

export interface Peer {
  readonly name: string;
  readonly sample: Sample;
}

export interface Budget {
  readonly text: string;
  /** In the unit of the measurement, or as a ratio where `of` says so. */
  readonly limit: number;
  readonly of: 'ours' | 'ratio';
}

export interface Measurement {
  /** Name for `--only`; several measurements may share one. */
  readonly row: string;
  readonly what: string;
  readonly unit: Unit;
  readonly ours: Sample;
  readonly peer: Peer | null;
  /** Median of ours by median of the peer's; null without a peer, or where its figure is too small for the clock. */
  readonly ratio: number | null;
  readonly budget: Budget | null;
  /** null: there is no budget for it. */
  readonly met: boolean | null;
}

export function sampleOf(runs: readonly number[]): Sample {
  if (runs.length === 0) throw new RangeError('a sample needs at least one run');
  const sorted = runs.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)!, runs };
}

export interface MeasurementOptions {
  readonly row: string;
  readonly what: string;
  readonly unit: Unit;
  readonly ours: readonly number[];
  readonly peer?: { readonly name: string; readonly runs: readonly number[] };
  readonly budget?: Budget;
}

export function measurement({ row, what, unit, ours, peer, budget }: MeasurementOptions): Measurement {
  const sample = sampleOf(ours);
  const other = peer === undefined ? null : { name: peer.name, sample: sampleOf(peer.runs) };
  const ratio = other === null || other.sample.median === 0 ? null : sample.median / other.sample.median;
  const judged = budget?.of === 'ratio' ? ratio : sample.median;
  const met = budget === undefined || judged === null ? null : judged <= budget.limit;
  return { row, what, unit, ours: sample, peer: other, ratio, budget: budget ?? null, met };
}
