/**
 * The stage history: what has happened to each stage of a run, as pure steps from one state to the next.
 *
 * Invariant: one record per stage, in order, and a metadata key `stage_{i}_{type}` for every stage that ended.
 */
import type { ErrorReport, JsonObject } from '../errors.ts';
import type { PipelineInput, StageRecord, StageStatus } from './contract.ts';
import { escapeMarkdown } from './text.ts';

export function newHistory(input: PipelineInput): readonly StageRecord[] {
  return input.stages.map((stage, index) => ({ index, type: stage.type, status: 'pending', attempts: 0, summary: null, error: null }));
}

export function withRecord(history: readonly StageRecord[], index: number, change: Partial<StageRecord>): readonly StageRecord[] {
  return history.map((record) => (record.index === index ? { ...record, ...change } : record));
}

export function stageKey(index: number, type: string): string {
  return `stage_${index}_${type}`;
}

/** What a failure's details say of the stage it happened in: counted from 1 in words, from 0 in the index. */
export function stageDetails(index: number, type: string, total: number): JsonObject {
  return { pipeline_stage: `Pipeline stage ${index + 1}/${total} (${type})`, pipeline_stage_index: index, pipeline_total_stages: total };
}

export function withStageDetails(error: ErrorReport, details: JsonObject): ErrorReport {
  return { ...error, details: { ...error.details, ...details } };
}

const MARKS: Readonly<Record<StageStatus, string>> = {
  pending: '·',
  running: '▶',
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
export function historyTable(history: readonly StageRecord[]): string {
  const rows = history.map((r) => row([`${r.index + 1}`, `\`${r.type}\``, `${MARKS[r.status]} ${r.status}${tries(r)}`]));
  const said = history
    .map((r) => ({ index: r.index, text: r.error?.message ?? r.summary }))
    .filter(({ text }) => text !== null)
    .map(({ index, text }) => `${index + 1}. ${sentence(text!)}`);
  return [row(['#', 'stage', 'status']), '|:---|:---|:---|', ...rows, '', ...said].join('\n').trimEnd();
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
