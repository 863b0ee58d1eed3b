/**
 * Decisions of a batch: what its document says, what an item makes of the template, when to stop, and what the totals are.
 *
 * Invariant: pure and workflow-safe; what is kept between runs of the workflow does not grow with the number of items.
 */
import { CheckpointConfigError, type ErrorReport, type Json, type JsonObject } from '../errors.ts';
import type { BlobReference } from '../model/context.ts';
import type { PipelineInput } from './contract.ts';
import { checkDocument } from './document.ts';
import { didYouMean } from './suggestions.ts';

export const BATCH_WORKFLOW = 'checkpointBatch';
export const PAUSE_SIGNAL = 'pause';
export const RESUME_SIGNAL = 'resume';
/** Lists the items once, in pages that lie in the workspace. */
export const LIST_ACTIVITY = 'batch.list';
export const PAGE_ACTIVITY = 'batch.page';
/** Adds outcomes to the chain of those before. */
export const RECORD_ACTIVITY = 'batch.record';
export const FINISH_ACTIVITY = 'batch.finish';
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
  'continue_after',
] as const;
const DEFAULT_CONCURRENT = 16;
/** Temporal takes at most 2000 open children of a workflow. */
const MOST_CONCURRENT = 1000;
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
  /** Children that one run of the workflow starts before it continues as new; default: as the server suggests. */
  readonly continue_after?: number;
  /** Written by the workflow itself when it continues as new. */
  readonly carried?: BatchCarry;
}

/** A child that an earlier run of the batch has started. */
export interface Straggler {
  readonly index: number;
  readonly item: BatchItem;
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

/** A line of the results. */
export interface Outcome {
  readonly index: number;
  readonly item: string;
  readonly uri: string;
  readonly columns: Readonly<Record<string, string>>;
  readonly status: OutcomeStatus;
  readonly workflow_id: string;
  readonly run_id: string | null;
  readonly outputs: readonly string[];
  readonly error: ErrorReport | null;
  /** ISO 8601; absent in results of versions before it was kept. */
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
  readonly failures: readonly Failure[];
  readonly failures_by_code: Readonly<Record<string, number>>;
  /** Items a second since the start. */
  readonly rate: number | null;
  readonly seconds_left: number | null;
  readonly error: ErrorReport | null;
}

export interface ListOutput {
  readonly index: BlobReference;
  readonly total: number;
}

export interface ItemPage {
  readonly items: readonly BatchItem[];
  readonly last: boolean;
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

export function withOutcome(totals: Totals, { status, error, item }: Outcome): Totals {
  const counted = { ...totals, [status]: totals[status] + 1 };
  if (error === null || status !== 'failed') return counted;
  const failure = { item, code: error.type, message: error.message.slice(0, SHOWN_CHARACTERS) };
  return {
    ...counted,
    codes: { ...totals.codes, [error.type]: (totals.codes[error.type] ?? 0) + 1 },
    failures: [...totals.failures, failure].slice(-SHOWN_FAILURES),
  };
}

export function endedOf({ completed, unchanged, failed, cancelled }: Totals): number {
  return completed + unchanged + failed + cancelled;
}

export function windowOf({ max_concurrent = DEFAULT_CONCURRENT }: BatchInput): number {
  return max_concurrent;
}

/** Children that may be handed over to the next run: a quarter of the window, so that one slow child idles nobody. */
export function handOver(window: number): number {
  return Math.max(1, Math.floor(window / 4));
}

/** Failures that are borne, out of `total` items. */
export function borne({ max_failures, continue_on_error }: BatchInput, total: number): number {
  if (typeof max_failures === 'number') return max_failures;
  if (typeof max_failures === 'string') return Math.floor((Number.parseFloat(max_failures) / 100) * total);
  return continue_on_error === true ? Infinity : 0;
}

export function childId(batch: string, index: number, { key }: BatchItem): string {
  // Keys may be longer than ids.
  return `${batch}/${index}/${key.slice(-200)}`;
}

/** Throws `CheckpointConfigError` where the document's shape is wrong; gives it back typed. */
export function checkBatch(given: unknown): BatchInput {
  if (!isObject(given)) throw new CheckpointConfigError('A batch is a mapping with `items` and a `pipeline`.', '');
  const known: readonly string[] = [...BATCH_KEYS, 'carried'];
  for (const key of Object.keys(given))
    if (!known.includes(key))
      throw new CheckpointConfigError(
        `Unknown key \`${key}\`.${didYouMean(key, BATCH_KEYS)} A batch knows: ${BATCH_KEYS.join(', ')}.`,
        key,
      );
  checkItems(given['items']);
  checkDocument(given['pipeline']);
  checkCount(given['max_concurrent'], 'max_concurrent', MOST_CONCURRENT);
  checkCount(given['continue_after'], 'continue_after', 10_000);
  const failures = given['max_failures'];
  const share = typeof failures === 'string' && /^\d+(\.\d+)?%$/.test(failures) && Number.parseFloat(failures) <= 100;
  if (failures !== undefined && !share && !(Number.isInteger(failures) && (failures as number) >= 0))
    throw new CheckpointConfigError(
      `\`max_failures\` is a whole number, or a share such as \`5%\`; got ${JSON.stringify(failures)}.`,
      'max_failures',
    );
  for (const [key, kind] of [
    ['name', 'string'],
    ['results', 'string'],
    ['continue_on_error', 'boolean'],
  ] as const)
    if (given[key] !== undefined && typeof given[key] !== kind)
      throw new CheckpointConfigError(`\`${key}\` must be a ${kind}; got ${JSON.stringify(given[key])}.`, key);
  return given as unknown as BatchInput;
}

function checkItems(items: unknown): void {
  if (Array.isArray(items)) return items.forEach((item: unknown, index) => void itemOf(item, `items[${index}]`));
  const one = isObject(items) ? ['uri', 'manifest', 'failed_in'].filter((key) => typeof items[key] === 'string') : [];
  if (one.length !== 1)
    throw new CheckpointConfigError('`items` is a mapping with `uri` (and `glob`), one with `manifest`, or a list.', 'items');
  const { glob } = items as { readonly glob?: unknown };
  if (glob !== undefined && typeof glob !== 'string' && !(Array.isArray(glob) && glob.every((each) => typeof each === 'string')))
    throw new CheckpointConfigError('`glob` is a pattern such as `**/*.ckpt`, or a list of them.', 'items.glob');
}

function checkCount(value: unknown, key: string, most: number): void {
  if (value === undefined || (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most)) return;
  throw new CheckpointConfigError(`\`${key}\` is a whole number from 1 to ${most}; got ${JSON.stringify(value)}.`, key);
}

/** An entry of a list or a row of a manifest: a URI, or a mapping with `uri`, perhaps `key`, and columns. */
export function itemOf(given: unknown, place: string): BatchItem {
  const { uri, key, ...columns } = typeof given === 'string' ? { uri: given } : isObject(given) ? given : {};
  if (typeof uri !== 'string' || uri === '')
    throw new CheckpointConfigError(
      `${place}: an item is a URI, or has one under \`uri\`; got ${JSON.stringify(given)?.slice(0, 100)}.`,
      place,
    );
  const texts = Object.entries(columns).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)] as const);
  return {
    uri,
    key: typeof key === 'string' && key !== '' ? key : uri.slice(uri.lastIndexOf('/') + 1),
    columns: Object.fromEntries(texts),
  };
}

/** The template with the item's values in its strings; an unknown reference is a `CheckpointConfigError`. */
export function expand(template: PipelineInput, item: BatchItem): PipelineInput {
  const name = item.key.slice(item.key.lastIndexOf('/') + 1);
  const values: Readonly<Record<string, string>> = {
    ...item.columns,
    uri: item.uri,
    key: item.key,
    stem: name.replace(/(?<=.)\.[^.]*$/, ''),
    dir: item.key.includes('/') ? item.key.slice(0, item.key.lastIndexOf('/')) : '',
  };
  const ofText = (text: string): string =>
    // An item at the top has no folder, and then no slash after it.
    text.replaceAll(/\$\{item\.([^{}]+)\}(\/?)/g, (_match, column: string, slash: string) => {
      const value = Object.hasOwn(values, column) ? values[column]! : undefined;
      if (value === undefined)
        throw new CheckpointConfigError(
          `The template refers to \`\${item.${column}}\`, which ${item.key} does not have.${didYouMean(column, Object.keys(values))}`,
          'pipeline',
          { details: { item: item.key } },
        );
      return value === '' && column === 'dir' ? '' : `${value}${slash}`;
    });
  const ofValue = (value: Json): Json => {
    if (typeof value === 'string') return ofText(value);
    if (Array.isArray(value)) return value.map((each: Json) => ofValue(each));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, ofValue(each)]));
  };
  // A document is plain JSON and keeps its shape.
  return ofValue(template as unknown as Json) as unknown as PipelineInput;
}

/** Items a second, and the seconds that the rest will take. */
export function paceOf(ended: number, total: number, milliseconds: number): Pick<BatchResult, 'rate' | 'seconds_left'> {
  if (ended === 0 || milliseconds <= 0) return { rate: null, seconds_left: null };
  const rate = (ended * 1000) / milliseconds;
  return { rate: Math.round(rate * 100) / 100, seconds_left: Math.ceil((total - ended) / rate) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
