/** What is known of a batch, brought into the form that its report shows. */
import type { JsonObject } from '../errors.ts';
import type { BatchResult, Outcome } from '../pipeline/batch.ts';
import type { BatchContents, OutcomeColumns } from './contents.ts';

/** Characters of a message in the table; the results have all. */
const MOST_CHARACTERS = 300;

export interface BatchFacts {
  readonly result: BatchResult;
  readonly document: JsonObject | null;
  readonly runId: string | null;
  readonly started: string | null;
  readonly ended: string | null;
  readonly outcomes: readonly Outcome[] | null;
  readonly gaps: readonly string[];
  readonly created: string;
  readonly version: string;
}

export function batchContents({ outcomes, ...facts }: BatchFacts): BatchContents {
  const name = facts.document?.['name'];
  return {
    kind: 'batch',
    ...facts,
    workflowId: facts.result.workflow_id,
    name: typeof name === 'string' ? name : null,
    items: outcomes === null ? null : columnsOf(outcomes),
  };
}

function columnsOf(outcomes: readonly Outcome[]): OutcomeColumns {
  const code: Record<number, string> = {};
  const message: Record<number, string> = {};
  for (const [index, { error }] of outcomes.entries()) {
    if (error === null) continue;
    code[index] = error.type;
    message[index] = error.message.slice(0, MOST_CHARACTERS);
  }
  return {
    item: outcomes.map(({ item }) => item),
    status: outcomes.map(({ status }) => status),
    ended: outcomes.map(({ ended }) => ended ?? null),
    code,
    message,
    output: outcomes.map(({ outputs }) => outputs[0] ?? null),
    // An item that was unchanged had no run.
    workflowId: outcomes.map(({ workflow_id }) => workflow_id ?? ''),
  };
}
