/**
 * The stage history: what has happened to each stage of a run, as pure steps from one state to the next.
 *
 * Invariant: one record per stage, in order, and a metadata key `stage_{i}_{type}` for every stage that ended.
 */
import type { ErrorReport, Json, JsonObject } from '../errors.ts';
import { escapeMarkdown } from '../model/text.ts';
import type { AttemptRecord, PipelineInput, StageRecord, StageStatus, StageTry, Waiting } from './contract.ts';

/** Attempts of a try, and tries of a stage, that a result lists: results stay small whatever happens. */
const MOST_ATTEMPTS = 8;
const MOST_TRIES = 5;
/** Of an error's message, where it is one of many. */
const MOST_CHARACTERS = 500;

export function newHistory(input: PipelineInput): readonly StageRecord[] {
  return input.stages.map(({ type }, index) => ({
    index,
    type,
    status: 'pending',
    attempts: 0,
    started: null,
    ended: null,
    summary: null,
    error: null,
    tries: [],
  }));
}

export function withRecord(history: readonly StageRecord[], index: number, change: Partial<StageRecord>): readonly StageRecord[] {
  return history.map((record) => (record.index === index ? { ...record, ...change } : record));
}

/** The next try of a stage has begun. */
export function withTry(history: readonly StageRecord[], index: number, now: string, changed: JsonObject | null): readonly StageRecord[] {
  const { started, tries } = history[index]!;
  const begun: StageTry = { started: now, ended: null, outcome: 'running', summary: null, changed, attempts: [] };
  return withRecord(history, index, { status: 'running', started: started ?? now, tries: [...tries, begun].slice(-MOST_TRIES) });
}

export interface TryEnd {
  readonly now: string;
  readonly outcome: 'completed' | 'failed' | 'cancelled';
  readonly summary: string | null;
  readonly attempts: number;
  readonly listed: readonly AttemptRecord[];
}

/** The running try of a stage has ended; without one, as for a stage that was not run, nothing changes but the time. */
export function withTryEnd(history: readonly StageRecord[], index: number, end: TryEnd): readonly StageRecord[] {
  const { attempts, tries } = history[index]!;
  const last = tries.at(-1);
  const ended = last?.outcome !== 'running' ? tries : [...tries.slice(0, -1), endOf(last, end)];
  return withRecord(history, index, { attempts: attempts + end.attempts, ended: end.now, tries: ended });
}

function endOf(running: StageTry, { now, outcome, summary, listed }: TryEnd): StageTry {
  return { ...running, ended: now, outcome, summary: summary?.slice(0, MOST_CHARACTERS) ?? null, attempts: firstAndLast(listed) };
}

/** The first attempt and the last ones. */
export function firstAndLast(attempts: readonly AttemptRecord[]): readonly AttemptRecord[] {
  return attempts.length <= MOST_ATTEMPTS ? attempts : [attempts[0]!, ...attempts.slice(1 - MOST_ATTEMPTS)];
}

/** The value of a failed stage's metadata key; it travels with every later stage, so it is cut. */
export function failedText(message: string): string {
  return `failed: ${message}`.slice(0, MOST_CHARACTERS);
}

export function stageKey(index: number, type: string): string {
  return `stage_${index}_${type}`;
}

/** What a failure's details say of the stage it happened in: counted from 1 in words, from 0 in the index. */
export function stageDetails(
  index: number,
  type: string,
  total: number,
): { readonly pipeline_stage: string; readonly [key: string]: Json } {
  return { pipeline_stage: `Pipeline stage ${index + 1}/${total} (${type})`, pipeline_stage_index: index, pipeline_total_stages: total };
}

/** An error of no class of ours, as a pipeline tells it: with its stage in front, and what it was in the details. */
export function namedByStage(report: ErrorReport, stage: string): ErrorReport {
  const { type, message, details } = report;
  if (type !== 'CheckpointError' || details['error_type'] === undefined || details['original_error'] === undefined) return report;
  return { type, message: `${stage} failed: ${message}`, details: { ...details, original_error_type: details['error_type'] } };
}

export function withStageDetails(error: ErrorReport, details: JsonObject): ErrorReport {
  return { ...error, details: { ...error.details, ...details } };
}

const MARKS: Readonly<Record<StageStatus, string>> = {
  pending: '·',
  running: '▶',
  waiting: '?',
  completed: '✔',
  failed: '✖',
  cancelled: '■',
  skipped: '–',
};

/**
 * The stage table in Markdown, for the workflow's current details in the UI, and below it what each stage says.
 *
 * The UI draws tables without borders or padding, in half of the window: so cells are short and padded with no-break spaces,
 * and sentences stand below, where they wrap.
 */
export function historyTable(history: readonly StageRecord[], waiting: Waiting | null = null): string {
  const rows = history.map((r) => row([`${r.index + 1}`, `\`${r.type}\``, `${MARKS[r.status]} ${r.status}${tries(r)}`]));
  const said = history
    .map((r) => ({ index: r.index, text: r.error?.message ?? r.summary }))
    .filter(({ text }) => text !== null)
    .map(({ index, text }) => `${index + 1}. ${sentence(text!)}`);
  return [...question(waiting), row(['#', 'stage', 'status']), '|:---|:---|:---|', ...rows, '', ...said].join('\n').trimEnd();
}

const ANSWERS: Readonly<Record<Waiting['options'][number], string>> = {
  retry: 'tries the stage again; with `"options": {…}` beside the action, with other options',
  skip: 'goes on without what the stage would have changed',
  abort: 'ends the run with the error of the stage',
};

function question(waiting: Waiting | null): readonly string[] {
  if (waiting === null) return [];
  const { stage, error, since, options, refused } = waiting;
  const { suggestion } = error.details;
  return [
    `**Waits for an answer** since ${since.slice(0, 19).replace('T', ' ')} UTC: stage ${stage.index + 1}, \`${stage.type}\`, failed. ${sentence(error.message)}`,
    '',
    // It is one of ours, with marks of Markdown where they are meant.
    ...(typeof suggestion === 'string' ? [suggestion, ''] : []),
    'Answer with `ckpt resolve`, or with the update `resolve_failure` (More Actions, Send an Update) and one of these as its input:',
    '',
    ...options.map((action, index) => `${index + 1}. \`${JSON.stringify({ action })}\` ${ANSWERS[action]}`),
    '',
    ...(refused === null ? [] : [`The last answer was not taken: ${sentence(refused.message)}`, '']),
  ];
}

const GAP = '\u00a0\u00a0';

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => `${cell}${GAP}`).join(' | ')} |`;
}

function tries({ status, attempts }: StageRecord): string {
  if (attempts < 2) return '';
  return status === 'completed' ? ` at attempt ${attempts}` : ` after ${attempts} attempts`;
}

/** One line that shows as it is, whatever a file is named, and is small. */
function sentence(text: string): string {
  return escapeMarkdown(text.replaceAll(/\s+/g, ' ').slice(0, 300));
}
