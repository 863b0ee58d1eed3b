/**
 * Checks of a pipeline document that need no catalog, so that the workflow can make them whoever started it.
 *
 * Workflow-safe and without zod, which would triple the workflow bundle; options are checked by each stage's own schema.
 */
import { CheckpointConfigError, type JsonObject } from '../errors.ts';
import { isMapping } from '../model/json.ts';
import { kindOf } from '../model/kind-of.ts';
import { didYouMean } from '../model/suggestions.ts';
import { booleanHint } from '../model/yaml-booleans.ts';
import { ON_ERROR, STAGE_CONTROLS, type PipelineInput, type StageSpec } from './contract.ts';
import { inPlace } from './moved-errors.ts';
import { checkName } from './names.ts';
import { plainDocument } from './plain-document.ts';

export const PIPELINE_KEYS = [
  'name',
  'source',
  'stages',
  'max_retries',
  'timeout',
  'retry',
  'on_error',
  'continue_on_error',
  'async_execution',
  'report',
  'workspace',
];

/**
 * Most stages of a pipeline: what each has come to is kept in the context, which has 16 KiB. Two hundred and fifty of ours went through
 * from end to end; a plug-in's may say more.
 */
export const MOST_STAGES = 100;
/** Most attempts of a stage: each may leave its error in the run's result. */
const MOST_ATTEMPTS = 10_000;
/** Longest wait or attempt in seconds: 30 days. */
const LONGEST = 30 * 24 * 3600;
const RETRY_KEYS = ['maximum_attempts', 'initial_interval', 'backoff', 'maximum_interval'];

/** Throws `CheckpointConfigError` where the document's shape is wrong; gives it back typed, in its plain form. */
export function checkDocument(given: unknown): PipelineInput {
  const { document, origins } = plainDocument(given);
  return inPlace({ origins }, () => checkPlain(document));
}

function checkPlain(document: unknown): PipelineInput {
  if (!isMapping(document)) throw new CheckpointConfigError(`A pipeline is a mapping with a list \`stages\`, not ${kindOf(document)}.`, '');
  for (const key of Object.keys(document)) {
    if (!PIPELINE_KEYS.includes(key))
      throw new CheckpointConfigError(
        `Unknown key \`${key}\`.${didYouMean(key, PIPELINE_KEYS)}${'items' in document ? ' Is it a batch? That is run by `ckpt batch run`.' : ''} A pipeline knows: ${PIPELINE_KEYS.join(', ')}.`,
        key,
      );
  }
  checkControls(document, '');
  checkKind(document, 'name', 'string', '');
  if (typeof document['name'] === 'string') checkName(document['name'], 'name');
  checkKind(document, 'async_execution', 'boolean', '');
  checkKind(document, 'report', 'boolean', '');
  checkKind(document, 'workspace', 'string', '');
  const stages = document['stages'];
  if (!Array.isArray(stages))
    throw new CheckpointConfigError(`\`stages\` must be a list of stages, each with a \`type\`; got ${kindOf(stages)}.`, 'stages');
  if (stages.length > MOST_STAGES)
    throw new CheckpointConfigError(
      `\`stages\` has ${stages.length} stages, at most ${MOST_STAGES} run in one pipeline. Several modifiers of one kind can mostly be one with more rules; else publish in between and go on in another pipeline.`,
      'stages',
    );
  stages.forEach((stage: unknown, index) => checkStage(stage, index));
  return document as unknown as PipelineInput;
}

/** One stage of the document, but for the options of its type. */
export function checkStage(stage: unknown, index: number): StageSpec {
  const path = `stages[${index}]`;
  if (!isMapping(stage))
    throw new CheckpointConfigError(
      `A stage must be a mapping with a \`type\`, such as \`type: source.local\`; got ${kindOf(stage)}.`,
      path,
    );
  if (typeof stage['type'] !== 'string')
    throw new CheckpointConfigError(
      stage['type'] === undefined
        ? `A stage has no \`type\`. Run \`ckpt stages\` for the list.`
        : `\`type\` must be a text such as \`source.local\`; got ${kindOf(stage['type'])}.`,
      `${path}.type`,
    );
  checkControls(stage, `${path}.`);
  return stage as StageSpec;
}

/** A stage's own options: everything beside its type and controls. */
export function optionsOf(stage: StageSpec): JsonObject {
  const controls: readonly string[] = STAGE_CONTROLS;
  return Object.fromEntries(Object.entries(stage).filter(([key, value]) => !controls.includes(key) && value !== undefined)) as JsonObject;
}

function checkControls(mapping: Record<string, unknown>, prefix: string): void {
  checkAttempts(mapping['max_retries'], 'max_retries', prefix);
  checkSeconds(mapping['timeout'], 'timeout', prefix);
  checkRetry(mapping['retry'], prefix);
  checkKind(mapping, 'continue_on_error', 'boolean', prefix);
  const onError = mapping['on_error'];
  if (onError === undefined) return;
  if (!(ON_ERROR as readonly unknown[]).includes(onError))
    throw new CheckpointConfigError(
      `\`on_error\` is one of ${ON_ERROR.join(', ')}; got ${JSON.stringify(onError)}.${didYouMean(onError, ON_ERROR)}`,
      `${prefix}on_error`,
    );
  const continues = mapping['continue_on_error'];
  if (continues !== undefined && continues !== (onError === 'continue'))
    throw new CheckpointConfigError(
      `\`continue_on_error: ${String(continues)}\` and \`on_error: ${String(onError)}\` say different things. Keep \`on_error\`.`,
      `${prefix}continue_on_error`,
    );
}

function checkRetry(retry: unknown, prefix: string): void {
  if (retry === undefined) return;
  if (!isMapping(retry))
    throw new CheckpointConfigError(`\`retry\` is a mapping of ${RETRY_KEYS.join(', ')}; got ${kindOf(retry)}.`, `${prefix}retry`);
  const inside = `${prefix}retry.`;
  for (const key of Object.keys(retry)) {
    if (!RETRY_KEYS.includes(key))
      throw new CheckpointConfigError(
        `\`retry\` has no setting \`${key}\`.${didYouMean(key, RETRY_KEYS)} It knows: ${RETRY_KEYS.join(', ')}.`,
        `${inside}${key}`,
      );
  }
  checkAttempts(retry['maximum_attempts'], 'maximum_attempts', inside);
  checkSeconds(retry['initial_interval'], 'initial_interval', inside);
  checkSeconds(retry['maximum_interval'], 'maximum_interval', inside);
  const backoff = retry['backoff'];
  if (backoff !== undefined && !(typeof backoff === 'number' && backoff >= 1 && backoff <= 1000))
    throw new CheckpointConfigError(
      `\`backoff\` is the factor from one wait to the next, from 1 to 1000; got ${JSON.stringify(backoff)}.`,
      `${inside}backoff`,
    );
  const first = retry['initial_interval'] ?? 1;
  const longest = retry['maximum_interval'];
  // Temporal refuses such a policy, and the run would stand still for it.
  if (longest !== undefined && (longest as number) < (first as number))
    throw new CheckpointConfigError(
      `\`maximum_interval\` (${String(longest)} s) is below \`initial_interval\` (${String(first)} s).`,
      `${inside}maximum_interval`,
    );
}

function checkAttempts(attempts: unknown, key: string, prefix: string): void {
  if (attempts === undefined || (Number.isInteger(attempts) && (attempts as number) >= 1 && (attempts as number) <= MOST_ATTEMPTS)) return;
  throw new CheckpointConfigError(
    `\`${key}\` is the number of attempts in all: a whole number from 1 to ${MOST_ATTEMPTS}; got ${JSON.stringify(attempts)}.`,
    `${prefix}${key}`,
  );
}

function checkSeconds(seconds: unknown, key: string, prefix: string): void {
  // Temporal counts in milliseconds, and takes none for no limit.
  if (seconds === undefined || (typeof seconds === 'number' && seconds >= 0.001 && seconds <= LONGEST)) return;
  throw new CheckpointConfigError(
    `\`${key}\` is in seconds, above 0 and at most ${LONGEST}; got ${JSON.stringify(seconds)}.`,
    `${prefix}${key}`,
  );
}

function checkKind(mapping: Record<string, unknown>, key: string, kind: 'string' | 'boolean', prefix: string): void {
  const value = mapping[key];
  if (value === undefined || typeof value === kind) return;
  const hint = kind === 'boolean' ? booleanHint(value) : typeof value === 'object' ? '' : ' Write it in quotes.';
  const wanted = kind === 'boolean' ? 'true or false' : 'a text';
  throw new CheckpointConfigError(`\`${key}\` must be ${wanted}; got ${kindOf(value)}.${hint}`, `${prefix}${key}`);
}
