/**
 * What a report shows, as plain JSON: made where a run's records are, read by the page in the browser.
 *
 * Invariant: no import but types, as the page is bundled from it; tables are columns, which pack and parse fast at 100,000 rows.
 * Everything in it may come from a file or a user: the page shows it as text and as nothing else.
 */
import type { ErrorReport, JsonObject } from '../errors.ts';
import type { Output } from '../model/context.ts';
import type { Container, Finding, Format, TrainingSummary } from '../model/header.ts';
import type { BatchResult, ItemStatus } from '../pipeline/batch.ts';
import type { RunStatus, StageRecord, Waiting } from '../pipeline/contract.ts';

/** What is true of a tensor, as bits of `TensorColumns.marks`. */
export const MARK = { skipped: 1, filled: 2, frozen: 4, cast: 8 } as const;
export type Mark = keyof typeof MARK;

/** One entry a tensor; the published ones first, then those that were skipped. */
export interface TensorColumns {
  readonly name: readonly string[];
  /** As published; of skipped ones as in the source, where that is known. */
  readonly dtype: readonly (string | null)[];
  /** `4096 × 1024`; null: not known. */
  readonly shape: readonly (string | null)[];
  readonly bytes: readonly number[];
  readonly marks: readonly number[];
  /** Sparse: only where there is something to say, as the dtype it was cast from or why it was skipped. */
  readonly notes: Readonly<Record<number, string>>;
  readonly sha256: readonly (string | null)[];
}

export interface SourceFacts {
  readonly files: readonly { readonly uri: string; readonly size: number; readonly identity: string }[];
  readonly format: Format;
  readonly container: Container;
  readonly weights: Amount;
  /** Tensors beside the state dict, as those of an optimizer. */
  readonly others: Amount;
  readonly training: TrainingSummary;
  readonly findings: readonly Finding[];
}

export interface Amount {
  readonly tensors: number;
  readonly bytes: number;
}

/** A global that the file's pickles name, and how often. */
export interface GlobalFacts {
  readonly name: string;
  readonly verdict: 'safe' | 'unknown' | 'dangerous';
  readonly uses: number;
  readonly member: string;
}

export interface LeftOutFacts {
  readonly what: string;
  readonly reason: string;
  readonly details: string | null;
}

interface Made {
  /** ISO 8601: when the report was made, and by which version. */
  readonly created: string;
  readonly version: string;
  readonly workflowId: string;
  readonly runId: string | null;
  readonly name: string | null;
  /** What could not be had, and why. */
  readonly gaps: readonly string[];
  /** The document that the run was started with. */
  readonly document: JsonObject | null;
}

export interface RunContents extends Made {
  readonly kind: 'run';
  readonly status: RunStatus;
  readonly stages: readonly StageRecord[];
  readonly error: ErrorReport | null;
  readonly waiting: Waiting | null;
  readonly source: SourceFacts | null;
  readonly outputs: readonly Output[];
  /** `published`, or `planned` where nothing was published. */
  readonly tensorsAre: 'published' | 'planned';
  readonly tensors: TensorColumns | null;
  readonly dropped: readonly LeftOutFacts[];
  readonly skipped: readonly LeftOutFacts[];
  readonly globals: readonly GlobalFacts[];
  readonly warnings: readonly string[];
  readonly metadata: JsonObject;
}

export interface OutcomeColumns {
  readonly item: readonly string[];
  readonly status: readonly ItemStatus[];
  /** ISO 8601; null: it was not started, or the results were written by an older version. */
  readonly ended: readonly (string | null)[];
  /** Code and message of the error; sparse. */
  readonly code: Readonly<Record<number, string>>;
  readonly message: Readonly<Record<number, string>>;
  readonly output: readonly (string | null)[];
  readonly workflowId: readonly string[];
}

export interface BatchContents extends Made {
  readonly kind: 'batch';
  readonly result: BatchResult;
  /** ISO 8601. */
  readonly started: string | null;
  readonly ended: string | null;
  /** Null until the batch has ended. */
  readonly items: OutcomeColumns | null;
}

export type Contents = RunContents | BatchContents;
