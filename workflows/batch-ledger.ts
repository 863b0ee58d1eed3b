/**
 * Outcomes on their way to the workspace.
 *
 * Invariant: one writer at a time, as parts form a chain; what was added is kept until it is written, in order.
 */
import { CancellationScope } from '@temporalio/workflow';
import type { BlobReference } from '../src/model/context.ts';
import { PART, type Noted } from '../src/pipeline/batch.ts';

export interface Ledger {
  add(outcome: Noted): void;
  /** Outcomes that are not written yet. */
  waiting(): number;
  /** Resolves once nothing waits; rejects where the workspace takes nothing for good. */
  flush(): Promise<void>;
  /** The last part that was written. */
  tip(): BlobReference | null;
}

type Write = (previous: BlobReference | null, outcomes: readonly Noted[]) => Promise<BlobReference>;

export function openLedger(write: Write, written: BlobReference | null): Ledger {
  let tip = written;
  const unwritten: Noted[] = [];
  let writing: Promise<void> | null = null;

  async function writeWhile(least: number): Promise<void> {
    while (unwritten.length >= least) {
      const outcomes = unwritten.slice(0, PART);
      tip = await write(tip, outcomes);
      unwritten.splice(0, outcomes.length);
    }
  }
  /** A batch that is cancelled writes on. */
  const start = (least: number): Promise<void> =>
    (writing ??= CancellationScope.nonCancellable(() => writeWhile(least)).finally(() => (writing = null)));

  return {
    add(outcome) {
      unwritten.push(outcome);
      // What fails here is tried again, and told, by `flush`.
      if (unwritten.length >= PART) start(PART).catch(() => undefined);
    },
    waiting: () => unwritten.length,
    async flush() {
      while (writing !== null || unwritten.length > 0) await start(1);
    },
    tip: () => tip,
  };
}
