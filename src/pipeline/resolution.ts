/** Answers to a run that waits: what is a well-formed one, and what it makes of the stage. Pure and workflow-safe. */
import { CheckpointConfigError, type Json, type JsonObject } from '../errors.ts';
import { isMapping } from '../model/json.ts';
import { didYouMean } from '../model/suggestions.ts';
import { RESOLUTIONS, type Resolution, type StageSpec } from './contract.ts';
import { checkStage } from './document.ts';

/** Deeper options are none of ours. */
const DEEPEST = 20;

/** Throws `CheckpointConfigError` for an unknown action, or options that are not plain JSON. */
export function checkResolution(given: unknown): Resolution {
  if (!isPlainMapping(given))
    throw new CheckpointConfigError(`An answer is a mapping such as {"action": "retry"}; got ${JSON.stringify(given)}.`);
  for (const key of Object.keys(given)) {
    if (key !== 'action' && key !== 'options')
      throw new CheckpointConfigError(`An answer has no \`${key}\`. It has: action, options.`, key);
  }
  const { action, options } = given;
  if (!(RESOLUTIONS as readonly unknown[]).includes(action))
    throw new CheckpointConfigError(
      `\`action\` is one of ${RESOLUTIONS.join(', ')}; got ${JSON.stringify(action)}.${didYouMean(action, RESOLUTIONS)}`,
      'action',
    );
  if (options === undefined) return given as unknown as Resolution;
  if (!isPlainMapping(options) || !isJson(options, DEEPEST))
    throw new CheckpointConfigError('`options` is a mapping of plain JSON: the options of the stage that change.', 'options');
  if ('type' in options) throw new CheckpointConfigError('A stage keeps its type. Start another run for another stage.', 'options.type');
  if (action !== 'retry' && Object.keys(options).length > 0)
    throw new CheckpointConfigError(`Changed options go with \`retry\`, not with \`${String(action)}\`.`, 'options');
  return given as unknown as Resolution;
}

/** The stage with changed options and controls; null takes one away. Throws `CheckpointConfigError` at `stages[i].…`. */
export function changedStage(stage: StageSpec, changes: JsonObject, index: number): StageSpec {
  const merged: Record<string, Json | undefined> = { ...stage, ...changes };
  return checkStage(Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== null)), index);
}

/** Without the dates, sets and such that YAML makes of tags. */
function isPlainMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  if (!isMapping(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.prototype.toString.call(value) === '[object Object]';
}

function isJson(value: unknown, depth: number): boolean {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (depth === 0) return false;
  if (Array.isArray(value)) return value.every((each) => isJson(each, depth - 1));
  return isPlainMapping(value) && Object.values(value).every((each) => isJson(each, depth - 1));
}
