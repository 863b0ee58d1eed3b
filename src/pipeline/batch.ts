/**
 * The JSON of a batch, and its decisions: how wide its window is, when to stop, and what the totals are.
 *
 * Invariant: pure and workflow-safe; what is kept between runs of the workflow does not grow with the number of items, nor with what
 * their rows say.
 */
import type { ErrorReport, JsonObject } from '../errors.ts';
import type { BlobReference } from '../model/context.ts';
import { within } from '../model/text.ts';
import type { PipelineInput, Retrying } from './contract.ts';

export const BATCH_WORKFLOW = 'checkpointBatch';
export const PAUSE_SIGNAL = 'pause';
export const RESUME_SIGNAL = 'resume';
/** Lists the items once, in pages that lie in the workspace. */
export const LIST_ACTIVITY = 'batch.list';
export const PAGE_ACTIVITY = 'batch.page';
/** Adds outcomes to the chain of those before. */
export const RECORD_ACTIVITY = 'batch.record';
export const FINISH_ACTIVITY = 'batch.finish';
export const BATCH_REPORT_ACTIVITY = 'batch.report';
/** Waits for children that an earlier run of the batch has started. */
export const AWAIT_ACTIVITY = 'batch.await';

export const BATCH_KEYS = [
  'name',
  'items',
  'pipeline',
  'max_concurrent',
  'continue_on_error',
  'max_failures',
  'results',
  'report',
  'continue_after',
] as const;
const DEFAULT_CONCURRENT = 16;
/** Children that are handed over to the next run at most: they travel with it. */
const MOST_HANDED_OVER = 64;
/** Codes that are counted apart; those of plug-ins may be any. */
const MOST_CODES = 50;
/** Characters of a code there. */
const CODE_CHARACTERS = 100;
const OTHER_CODES = 'other';
/** Bytes of names where they are shown, and in ids: Temporal takes 1000 for an id, 400 for a summary. */
const NAME_BYTES = 200;
/** Bytes of a batch's own id: those of its children begin with it. */
export const MOST_ID_BYTES = 600;
/** Outcomes that are written together. */
export const PART = 100;
/** Failures that the status and the result show; all are in the results. */
const SHOWN_FAILURES = 20;
/** Characters of a message there. */
const SHOWN_CHARACTERS = 500;

/** One checkpoint: where it is, its name in the batch, and what a manifest says beside it. */
export interface BatchItem {
  readonly uri: string;
  readonly key: string;
  readonly columns: Readonly<Record<string, string>>;
  /** Key of another item, which comes first and is published to the same place: this one must not go over it. */
  readonly destination_of?: string;
}

export type BatchItems =
  | { readonly uri: string; readonly glob?: string | readonly string[] }
  | { readonly manifest: string }
  /** What failed in a batch whose results these are. */
  | { readonly failed_in: string }
  | readonly (string | JsonObject)[];

/** The batch document, as YAML or JSON, and the workflow's only argument. */
export interface BatchInput {
  readonly name?: string;
  readonly items: BatchItems;
  /** The template: strings in it may refer to `${item.uri}` and the like. */
  readonly pipeline: PipelineInput;
  /** Children at a time; default 16. */
  readonly max_concurrent?: number;
  /** Go on after failures without limit; default: the first one stops the batch, unless `max_failures` is given. */
  readonly continue_on_error?: boolean;
  /** So many failures are borne: a number, or a share of all items such as `5%`. */
  readonly max_failures?: number | string;
  /** URI of the results (JSON Lines); default: in the workspace. */
  readonly results?: string;
  /** Leave a report beside the results. */
  readonly report?: boolean;
  /** Children that one run of the workflow starts before it continues as new; default: as the server suggests. */
  readonly continue_after?: number;
}

/** What a run of the workflow begins with that goes on from another; written by that one alone. */
export interface ContinuedBatch extends BatchInput {
  readonly carried: BatchCarry;
}

/** Where an item stands: in all, and in the list. */
export interface Place {
  readonly index: number;
  readonly page: number;
  readonly offset: number;
}

/** A child that an earlier run of the batch has started. */
export interface Straggler extends Place {
  /** The item's key, perhaps cut. */
  readonly name: string;
  readonly workflowId: string;
  readonly runId: string;
}

export interface BatchCarry {
  readonly index: BlobReference;
  readonly total: number;
  /** First item that was not started: its page, its place there, and in all. */
  readonly page: number;
  readonly offset: number;
  readonly next: number;
  readonly part: BlobReference | null;
  readonly totals: Totals;
  readonly stragglers: readonly Straggler[];
  readonly paused: boolean;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

export type OutcomeStatus = 'completed' | 'unchanged' | 'failed' | 'cancelled';
/** In the results also those that a batch which ended early has not begun. */
export type ItemStatus = OutcomeStatus | 'not_started';

/** An outcome as it goes through history: what the list says of the item is added when it is written. */
export interface Noted extends Place {
  readonly status: OutcomeStatus;
  readonly workflow_id: string | null;
  readonly run_id: string | null;
  readonly outputs: readonly string[];
  readonly error: ErrorReport | null;
  /** ISO 8601. */
  readonly ended: string;
}

/** A line of the results. */
export interface Outcome {
  readonly index: number;
  readonly item: string;
  readonly uri: string;
  readonly columns: Readonly<Record<string, string>>;
  readonly status: ItemStatus;
  /** Null where no run was needed, as what would be published is there, or none was started. */
  readonly workflow_id: string | null;
  readonly run_id: string | null;
  readonly outputs: readonly string[];
  readonly error: ErrorReport | null;
  /** As of the item. */
  readonly destination_of?: string;
  /** ISO 8601; absent of what was not started, and in results of versions before it was kept. */
  readonly ended?: string;
}

export interface Failure {
  readonly item: string;
  readonly code: string;
  readonly message: string;
}

export interface Totals {
  readonly completed: number;
  readonly unchanged: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly codes: Readonly<Record<string, number>>;
  /** The last few. */
  readonly failures: readonly Failure[];
}

export type BatchStatus = 'listing' | 'running' | 'paused' | 'stopping' | 'completed' | 'failed' | 'cancelled';

/** Result of a batch, answer to its `status` query, and what `ckpt batch run --json` prints. */
export interface BatchResult {
  readonly workflow_id: string;
  readonly status: BatchStatus;
  readonly total: number;
  readonly completed: number;
  readonly unchanged: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly running: number;
  /** URI; null until the batch has ended. */
  readonly results: string | null;
  /** URI, where one was asked for. */
  readonly report?: string;
  /** Why there is none: that is not a failure of the batch. */
  readonly report_error?: string;
  readonly failures: readonly Failure[];
  readonly failures_by_code: Readonly<Record<string, number>>;
  /** Items a second since the start. */
  readonly rate: number | null;
  readonly seconds_left: number | null;
  readonly error: ErrorReport | null;
}

/** How a batch stands, with what is seen from outside of it. */
export interface BatchProgress extends BatchResult {
  /** What holds it up: of its own work, not that of its items; null where nothing does. */
  readonly retrying: Retrying | null;
  /** Runs of its items that wait for an answer, with the ids of some; null once it has ended, and where the server cannot find them. */
  readonly waiting: { readonly count: number; readonly ids: readonly string[] } | null;
}

export interface ListOutput {
  readonly index: BlobReference;
  readonly total: number;
}

/** An item, and where what it would publish is there already, its outputs. */
export interface ListedItem extends BatchItem {
  readonly unchanged?: readonly string[];
}

/** Items that were not begun: the list, and the place of the first. */
export interface Rest extends Place {
  readonly list: BlobReference;
}

export interface ItemPage {
  readonly items: readonly ListedItem[];
}

export interface Awaited {
  readonly ended: readonly { readonly workflowId: string; readonly ending: Ending }[];
}

/** How a child has ended, as whoever waited for it saw it. */
export interface Ending {
  readonly status: OutcomeStatus;
  readonly outputs: readonly string[];
  readonly error: ErrorReport | null;
}

export const NO_TOTALS: Totals = { completed: 0, unchanged: 0, failed: 0, cancelled: 0, codes: {}, failures: [] };

export function withOutcome(totals: Totals, item: string, { status, error }: Ending): Totals {
  const counted = { ...totals, [status]: totals[status] + 1 };
  if (error === null || status !== 'failed') return counted;
  const failure = { item, code: error.type, message: error.message.slice(0, SHOWN_CHARACTERS) };
  const given = error.type.slice(0, CODE_CHARACTERS);
  const code = Object.hasOwn(totals.codes, given) || Object.keys(totals.codes).length < MOST_CODES ? given : OTHER_CODES;
  const count = (Object.hasOwn(totals.codes, code) ? totals.codes[code]! : 0) + 1;
  return {
    ...counted,
    codes: { ...totals.codes, [code]: count },
    failures: [...totals.failures, failure].slice(-SHOWN_FAILURES),
  };
}

function endedOf({ completed, unchanged, failed, cancelled }: Totals): number {
  return completed + unchanged + failed + cancelled;
}

export function windowOf({ max_concurrent = DEFAULT_CONCURRENT }: BatchInput): number {
  return max_concurrent;
}

/** Children that may be handed over to the next run: a quarter of the window, so that one slow child idles nobody. */
export function handOver(window: number): number {
  return Math.min(MOST_HANDED_OVER, Math.max(1, Math.floor(window / 4)));
}

/** Failures that are borne, out of `total` items. */
export function borne({ max_failures, continue_on_error }: Partial<BatchInput>, total: number): number {
  if (typeof max_failures === 'number') return max_failures;
  if (typeof max_failures === 'string') return Math.floor((Number.parseFloat(max_failures) * total) / 100);
  return continue_on_error === true ? Infinity : 0;
}

/**
 * Failures that another try of a batch bears: what failed before may all fail again, and is tried to its last item; of what was not started
 * no more than the batch bore.
 */
export function borneAgain(input: Partial<BatchInput>, { failed, total }: Pick<BatchResult, 'failed' | 'total'>): number {
  return Math.max(failed, borne(input, total));
}

/** The end of a key tells items apart; keys may be longer than ids and summaries. */
export function nameOf({ key }: BatchItem): string {
  return within(key, NAME_BYTES, 'end');
}

export function childId(batch: string, index: number, item: BatchItem): string {
  return `${batch}/${index}/${nameOf(item)}`;
}

/** An error as the results keep it. */
export function briefReport({ type, message }: ErrorReport): ErrorReport {
  return { type, message: message.slice(0, 2000), details: {} };
}

/** Items a second, and the seconds that the rest will take; of one that is paused, or ends before all have run, nobody knows. */
export function paceOf(
  { status, total, ...totals }: Pick<BatchResult, 'status' | 'total'> & Totals,
  milliseconds: number,
): Pick<BatchResult, 'rate' | 'seconds_left'> {
  const done = endedOf(totals);
  if (done === 0 || milliseconds <= 0) return { rate: null, seconds_left: null };
  const rate = (done * 1000) / milliseconds;
  const known = status === 'running' || status === 'completed';
  return { rate: Math.round(rate * 100) / 100, seconds_left: known ? Math.ceil((total - done) / rate) : null };
}
