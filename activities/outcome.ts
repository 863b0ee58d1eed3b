/** What a stage gives back, looked at before it goes on: a plug-in may be plain JavaScript, which nobody has checked. */
import { CheckpointError } from '../src/errors.ts';
import { isMapping } from '../src/model/json.ts';
import { within } from '../src/model/text.ts';
import type { StageOutcome } from './stage.ts';

/** Bytes of a summary, which is a line for people and goes through Temporal's history. */
const MOST_SUMMARY = 1000;

/** The outcome with its summary cut where it is long; throws for what is none. */
export function checkedOutcome(type: string, outcome: unknown): StageOutcome {
  const expected = '{context, summary}: the context of the call with what the stage has changed, and one line for people';
  if (!isMapping(outcome)) throw wrongReturn(type, wordFor(outcome), expected);
  const { context, summary } = outcome as Partial<Record<keyof StageOutcome, unknown>>;
  if (!isMapping(context)) throw wrongReturn(type, `a \`context\` that is ${wordFor(context)}`, expected);
  const { metadata, outputs, weightsLoaded } = context;
  if (!isMapping(metadata) || !Array.isArray(outputs) || typeof weightsLoaded !== 'boolean')
    throw wrongReturn(type, 'a `context` without `metadata`, `outputs` or `weightsLoaded`', expected);
  if (typeof summary !== 'string') throw wrongReturn(type, `a \`summary\` that is ${wordFor(summary)}`, expected);
  const cut = within(summary, MOST_SUMMARY);
  // Its shape was looked at.
  return { ...(outcome as unknown as StageOutcome), summary: cut.length < summary.length ? `${cut}…` : summary };
}

/** For what code of a stage has given back: no other attempt mends it. */
export function wrongReturn(type: string, got: string, expected: string): CheckpointError {
  return new CheckpointError(`${type} returned ${got}, expected ${expected}.`, {
    retryable: false,
    details: { reason: 'stage_code', stage: type },
  });
}

export function wordFor(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
