/**
 * What a schedule says: which pipeline or batch runs when, and what happens where runs would overlap or were missed.
 *
 * Invariant: pure; times are checked here as far as that needs no server, which has the last word on cron expressions.
 */
import { CheckpointConfigError } from '../errors.ts';
import { isMapping, type Mapping } from '../model/json.ts';
import { didYouMean } from '../model/suggestions.ts';
import { checkBatch } from './batch-document.ts';
import type { BatchInput, BatchStatus } from './batch.ts';
import type { PipelineInput, RunStatus } from './contract.ts';
import { unknownKeys } from './document-kinds.ts';
import { checkDocument } from './document.ts';

/** Key of the memo of the started workflows that says when their schedule starts them, as it was written. */
export const SCHEDULE_MEMO = 'checkpoint_schedule';

/** What happens where the run before has not ended. */
export const OVERLAPS = ['skip', 'buffer_one', 'buffer_all', 'cancel_other', 'terminate_other', 'allow_all'] as const;
export type Overlap = (typeof OVERLAPS)[number];

/** When runs start. Durations are seconds, or texts such as `90s`, `15m`, `6h`, `1d`, `1w`. */
export interface Timing {
  /** One expression of five to seven fields or `@daily` and its like, or several. */
  readonly cron?: string | readonly string[];
  /** In place of `cron`: the time from one start to the next. */
  readonly every?: string | number;
  /** With `every`: so long after the full interval, counted from 1970. */
  readonly offset?: string | number;
  /** Of `cron`; default UTC. */
  readonly time_zone?: string;
  /** Each start is put off by chance, at most so long. */
  readonly jitter?: string | number;
  /** Default `skip`. */
  readonly overlap?: Overlap;
  /** Starts that were missed while the server was away are made up for if they are not older; default a year. */
  readonly catch_up?: string | number;
}

interface State {
  /** Of a new schedule: it waits for `unpause`. */
  readonly paused?: boolean;
  readonly note?: string;
}

/** A schedule of one pipeline or one batch. */
export type ScheduleInput = Timing &
  State &
  ({ readonly pipeline: PipelineInput; readonly batch?: undefined } | { readonly batch: BatchInput; readonly pipeline?: undefined });

/** What of a schedule may be changed alone. */
export type ScheduleChange = Timing & Pick<State, 'note'> & { readonly pipeline?: PipelineInput; readonly batch?: BatchInput };

/** A run that a schedule has started. Times are ISO 8601. */
export interface ScheduledRun {
  readonly workflow_id: string;
  readonly run_id: string;
  readonly scheduled: string;
  readonly started: string;
  /** `lost`: the server knows the run no more. */
  readonly outcome: RunStatus | BatchStatus | 'lost';
  readonly error: { readonly type: string; readonly message: string } | null;
  /** Items that failed, of a batch that has ended. */
  readonly failed?: number;
}

/** A schedule as it stands. */
export interface ScheduleState {
  readonly id: string;
  readonly kind: 'pipeline' | 'batch';
  /** Of what runs. */
  readonly name: string | null;
  readonly paused: boolean;
  readonly note: string | null;
  /** As it was written; empty for a schedule that another program has made. */
  readonly timing: Timing;
  /** The next starts. */
  readonly next: readonly string[];
  /** The last runs, newest first. */
  readonly runs: readonly ScheduledRun[];
  readonly started: number;
  readonly skipped: number;
  readonly missed: number;
}

/** A line of the list: the last run alone. */
export type ScheduleEntry = Pick<ScheduleState, 'id' | 'kind' | 'paused' | 'note' | 'next' | 'runs'>;

export const TIMING_KEYS = ['cron', 'every', 'offset', 'time_zone', 'jitter', 'overlap', 'catch_up'] as const;
/** Of the document in a file. */
export const SCHEDULE_KEYS = ['id', 'pipeline', 'batch', ...TIMING_KEYS, 'paused', 'note'] as const;

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
const MACROS = ['@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly'];
/** Temporal takes no shorter window. */
const LEAST_CATCH_UP = 10;

/** Throws `CheckpointConfigError` where the shape is wrong, but for the `pipeline` or `batch` in it. */
export function checkTiming(given: Mapping): Timing & State {
  for (const check of timingChecks(given)) check();
  return given as Timing & State;
}

export function timingChecks(given: Mapping): readonly (() => void)[] {
  const { cron, every, jitter, catch_up: catchUp, time_zone: zone, overlap, paused, note } = given;
  return [
    () => checkOneTiming(given),
    ...(Array.isArray(cron) ? cron.map((each: unknown, index) => () => checkCron(each, `cron[${index}]`)) : []),
    () => void (cron !== undefined && !Array.isArray(cron) && checkCron(cron, 'cron')),
    () => void (every !== undefined && secondsOf(every, 'every', 1)),
    () => checkOffset(given),
    () => void (jitter !== undefined && secondsOf(jitter, 'jitter', 0)),
    () => void (catchUp !== undefined && secondsOf(catchUp, 'catch_up', LEAST_CATCH_UP)),
    () => void (zone !== undefined && checkZone(zone)),
    () => checkOverlap(overlap),
    () => {
      if (paused !== undefined && typeof paused !== 'boolean')
        throw new CheckpointConfigError(`\`paused\` must be true or false; got ${JSON.stringify(paused)}.`, 'paused');
    },
    () => {
      if (note !== undefined && typeof note !== 'string')
        throw new CheckpointConfigError(`\`note\` must be a text; got ${JSON.stringify(note)}.`, 'note');
    },
  ];
}

function checkOneTiming({ cron, every }: Mapping): void {
  if ((cron === undefined) === (every === undefined))
    throw new CheckpointConfigError(
      'A schedule says when: either `cron` (such as `0 3 * * *`) or `every` (such as `6h`).',
      every === undefined ? '' : 'every',
    );
  if (Array.isArray(cron) && cron.length === 0) throw new CheckpointConfigError('`cron` is an empty list.', 'cron');
}

function checkOffset({ every, offset }: Mapping): void {
  if (offset === undefined) return;
  if (every === undefined) throw new CheckpointConfigError('`offset` goes with `every`.', 'offset');
  if (secondsOf(offset, 'offset', 0) >= secondsOf(every, 'every', 1))
    throw new CheckpointConfigError('`offset` is shorter than `every`.', 'offset');
}

function checkOverlap(overlap: unknown): void {
  if (overlap === undefined || (OVERLAPS as readonly unknown[]).includes(overlap)) return;
  throw new CheckpointConfigError(
    `\`overlap\` is one of ${OVERLAPS.join(', ')}; got ${JSON.stringify(overlap)}.${didYouMean(overlap, OVERLAPS)}`,
    'overlap',
  );
}

/** Throws `CheckpointConfigError` where the shape is wrong, here and in the pipeline or batch, which it gives back in the plain form. */
export function checkSchedule(given: unknown): ScheduleInput {
  const input = checkMapping(given);
  const [unknown] = unknownKeys(input, SCHEDULE_KEYS.slice(1), 'schedule');
  if (unknown !== undefined) throw unknown;
  checkTiming(input);
  checkOneWork(input);
  const work = input['batch'] === undefined ? { pipeline: checkDocument(input['pipeline']) } : { batch: checkBatch(input['batch']) };
  return { ...input, ...work } as unknown as ScheduleInput;
}

export function checkMapping(given: unknown): Mapping {
  if (isMapping(given)) return given;
  throw new CheckpointConfigError('A schedule is a mapping with a `pipeline` or a `batch`, and with `cron` or `every`.', '');
}

export function checkOneWork({ pipeline, batch }: Readonly<Record<string, unknown>>): void {
  if ((pipeline === undefined) !== (batch === undefined)) return;
  throw new CheckpointConfigError(
    'A schedule runs either a `pipeline` or a `batch`: name its document (`--pipeline` or `--batch`).',
    batch === undefined ? '' : 'batch',
  );
}

/** Seconds of a duration: a number of them, or a text such as `1h30m`. */
export function secondsOf(given: unknown, key: string, least: number): number {
  const parts = typeof given === 'string' && /^(\d+(\.\d+)?[smhdw])+$/.test(given) ? given.matchAll(/(\d+(?:\.\d+)?)([smhdw])/g) : null;
  const seconds =
    parts === null ? given : [...parts].reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS[unit ?? ''] ?? Number.NaN), 0);
  if (typeof seconds === 'number' && seconds >= least && Number.isFinite(seconds)) return seconds;
  throw new CheckpointConfigError(
    `\`${key}\` is a time of at least ${least} s: a number of seconds, or a text such as \`90s\`, \`15m\`, \`6h\`, \`1d\`; got ${JSON.stringify(given)}.`,
    key,
  );
}

function checkCron(given: unknown, path: string): void {
  const text = typeof given === 'string' ? given.trim() : '';
  const fields = text.split(/\s+/).length;
  if (MACROS.includes(text) || (fields >= 5 && fields <= 7 && /^[\w*/,\-?#\s]+$/.test(text))) return;
  const hint = text.startsWith('@every')
    ? ' Use `every` for intervals.'
    : text.includes('TZ=')
      ? ' Use `time_zone` for the time zone.'
      : '';
  throw new CheckpointConfigError(
    `\`cron\` is five fields (minute, hour, day of month, month, day of week; a year, or seconds and a year, may be added), or one of ${MACROS.join(', ')}; got ${JSON.stringify(given)}.${hint}`,
    path,
  );
}

function checkZone(zone: unknown): void {
  try {
    if (typeof zone === 'string' && new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone !== '') return;
  } catch {
    // Said below.
  }
  throw new CheckpointConfigError(
    `\`time_zone\` is a name such as \`Europe/Berlin\` or \`UTC\`; got ${JSON.stringify(zone)}.`,
    'time_zone',
  );
}
