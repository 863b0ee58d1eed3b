/** What the Temporal UI shows of a batch while it runs. Workflow-safe. */
import { escapeMarkdown } from '../model/text.ts';
import type { BatchResult } from './batch.ts';

/** Markdown for the current details. */
export function batchDetails(result: BatchResult): string {
  const { total, completed, unchanged, failed, cancelled, running, rate, seconds_left, failures_by_code, failures } = result;
  const codes = Object.entries(failures_by_code).map(([code, count]) => `- ${escapeMarkdown(code)}: ${count}`);
  const last = failures.slice(-5).map(({ item, message }) => `- ${shown(item, 200)}: ${shown(message, 200)}`);
  return [
    `**${completed + unchanged + failed + cancelled} of ${total}**: ${completed} published, ${unchanged} unchanged, ${failed} failed, ${running} running`,
    ...(rate === null ? [] : [`${rate} items/s${seconds_left === null ? '' : `, ${seconds_left} s left`}`]),
    ...(codes.length === 0 ? [] : ['Failures:', codes.join('\n'), 'The last ones:', last.join('\n')]),
  ].join('\n\n');
}

function shown(text: string, most: number): string {
  return escapeMarkdown(text.slice(0, most).replaceAll(/\s+/g, ' '));
}
