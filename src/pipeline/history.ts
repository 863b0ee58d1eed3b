/**
 * The stage history: what has happened to each stage of a run, as pure steps from one state to the next.
 *
 * Invariant: one record per stage, in order, and a metadata key `stage_{i}_{type}` for every stage that ended.
 */
import type { ErrorReport, JsonObject } from '../errors.ts';
import type { PipelineInput, StageRecord } from './contract.ts';

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

/** The stage table in Markdown, for the workflow's current details in the UI. */
export function historyTable(history: readonly StageRecord[]): string {
  const rows = history.map(
    (r) => `| ${r.index + 1} | \`${r.type}\` | ${r.status} | ${r.attempts || ''} | ${cell(r.error?.message ?? r.summary ?? '')} |`,
  );
  return ['| # | stage | status | attempts | |', '|---|---|---|---|---|', ...rows].join('\n');
}

/** Table cells must not break the table, and current details must stay small. */
function cell(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|').slice(0, 300);
}
