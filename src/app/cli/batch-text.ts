/** A batch, as it stands or has ended, for people. */
import type { BatchProgress, BatchResult, BatchStatus } from '../../pipeline/batch.ts';
import { heldUp, progressLine } from './batch-progress.ts';

/** A batch that stands like this is not retried yet. */
const GOING_ON: readonly BatchStatus[] = ['listing', 'running', 'paused', 'stopping'];

/** Null where something was found, or nobody knows yet. */
export function emptyNote({ total, status }: Pick<BatchResult, 'total' | 'status'>): string | null {
  return total === 0 && status === 'completed' ? 'Nothing was found to run: look at `items` and its `glob`.' : null;
}

/** `link`: of the batch in the Temporal UI, where that is known. */
export function batchLines(result: BatchResult & Partial<BatchProgress>, link: string | null): readonly string[] {
  const { workflow_id, status, total, completed, unchanged, failed, results, report, report_error, failures } = result;
  const empty = emptyNote(result);
  const again = completed + unchanged < total && results !== null && !GOING_ON.includes(status);
  return [
    `Batch ${workflow_id}: ${status}`,
    `  ${progressLine(result)}`,
    ...heldUp(result).map((line) => `  ${line}`),
    ...(empty === null ? [] : [`  ${empty}`]),
    ...(failed > failures.length ? [`  the last ${failures.length} of ${failed} failures:`] : []),
    ...failures.map(({ item, code, message }) => `  ✖ ${item}  ${code}: ${message}`),
    ...(results === null ? [] : [`  results ${results}`]),
    ...(report === undefined ? [] : [`  report ${report}`]),
    ...(report_error === undefined ? [] : [`  no report: ${report_error}`]),
    ...(again ? [`  what failed, was cancelled or not started, again: ckpt batch retry ${workflow_id}`] : []),
    ...(link === null ? [] : ['', `Batch in the Temporal UI: ${link}`]),
  ];
}
