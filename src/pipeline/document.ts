/**
 * Checks of a pipeline document that need no catalog, so that the workflow can make them whoever started it.
 *
 * Workflow-safe and without zod, which would triple the workflow bundle; options are checked by each stage's own schema.
 */
import { CheckpointConfigError, type CheckpointError, type JsonObject } from '../errors.ts';
import { isMapping, type Mapping } from '../model/json.ts';
import { kindOf } from '../model/kind-of.ts';
import { didYouMean } from '../model/suggestions.ts';
import { numberHint } from '../model/number-hint.ts';
import { booleanHint } from '../model/yaml-booleans.ts';
import { allProblems } from './all-problems.ts';
import { ON_ERROR, STAGE_CONTROLS, type PipelineInput, type StageSpec } from './contract.ts';
import { ofAnotherKind, withUnknownKeys } from './document-kinds.ts';
import { inPlace } from './moved-errors.ts';
import { checkName } from './names.ts';
import { plainDocument } from './plain-document.ts';
import { stageHint } from './stage-hint.ts';

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
  return inPlace({ origins }, () => {
    const [first] = shapeProblems(document);
    if (first !== undefined) throw first;
    return document as PipelineInput;
  });
}

/** All that is wrong with the shape of a document in its plain form. */
export function shapeProblems(document: unknown): readonly CheckpointError[] {
  if (!isMapping(document))
    return [new CheckpointConfigError(`A pipeline is a mapping with a list \`stages\`, not ${kindOf(document)}.`, '')];
  const another = ofAnotherKind(document, PIPELINE_KEYS, 'pipeline');
  if (another !== undefined) return [another];
  const { name, stages } = document;
  const problems = allProblems([
    ...controlChecks(document, ''),
    () => checkKind(document, 'name', 'string', ''),
    () => void (typeof name === 'string' && checkName(name, 'name')),
    () => checkKind(document, 'async_execution', 'boolean', ''),
    () => checkKind(document, 'report', 'boolean', ''),
    () => checkKind(document, 'workspace', 'string', ''),
    () => checkStages(stages),
    ...(Array.isArray(stages) ? stages.slice(0, MOST_STAGES).flatMap((stage: unknown, index) => stageChecks(stage, index)) : []),
  ]);
  return withUnknownKeys(problems, document, PIPELINE_KEYS, 'pipeline');
}

function checkStages(stages: unknown): void {
  if (!Array.isArray(stages))
    throw new CheckpointConfigError(`\`stages\` must be a list of stages, each with a \`type\`; got ${kindOf(stages)}.`, 'stages');
  if (stages.length > MOST_STAGES)
    throw new CheckpointConfigError(
      `\`stages\` has ${stages.length} stages, at most ${MOST_STAGES} run in one pipeline. Several modifiers of one kind can mostly be one with more rules; else publish in between and go on in another pipeline.`,
      'stages',
    );
}

/** One stage of the document, but for the options of its type. */
export function checkStage(stage: unknown, index: number): StageSpec {
  for (const check of stageChecks(stage, index)) check();
  return stage as StageSpec;
}

function stageChecks(stage: unknown, index: number): readonly (() => void)[] {
  const path = `stages[${index}]`;
  return [() => checkType(stage, path), ...(isMapping(stage) ? controlChecks(stage, `${path}.`) : [])];
}

function checkType(stage: unknown, path: string): void {
  if (!isMapping(stage))
    throw new CheckpointConfigError(
      `A stage must be a mapping with a \`type\`, such as \`type: source.local\`; got ${kindOf(stage)}.${stageHint(stage)}`,
      path,
    );
  if (typeof stage['type'] === 'string') return;
  throw new CheckpointConfigError(
    stage['type'] === undefined
      ? `A stage has no \`type\`.${stageHint(stage)} Run \`ckpt stages\` for the list.`
      : `\`type\` must be a text such as \`source.local\`; got ${kindOf(stage['type'])}.`,
    `${path}.type`,
  );
}

/** A stage's own options: everything beside its type and controls. */
export function optionsOf(stage: StageSpec): JsonObject {
  const controls: readonly string[] = STAGE_CONTROLS;
  return Object.fromEntries(Object.entries(stage).filter(([key, value]) => !controls.includes(key) && value !== undefined)) as JsonObject;
}

function controlChecks(mapping: Mapping, prefix: string): readonly (() => void)[] {
  return [
    () => checkAttempts(mapping['max_retries'], 'max_retries', prefix),
    () => checkSeconds(mapping['timeout'], 'timeout', prefix),
    ...retryChecks(mapping['retry'], prefix),
    () => checkKind(mapping, 'continue_on_error', 'boolean', prefix),
    () => checkOnError(mapping, prefix),
  ];
}

function checkOnError({ on_error: onError, continue_on_error: continues }: Mapping, prefix: string): void {
  if (onError === undefined) return;
  if (!(ON_ERROR as readonly unknown[]).includes(onError))
    throw new CheckpointConfigError(
      `\`on_error\` is one of ${ON_ERROR.join(', ')}; got ${JSON.stringify(onError)}.${didYouMean(onError, ON_ERROR)}`,
      `${prefix}on_error`,
    );
  if (typeof continues === 'boolean' && continues !== (onError === 'continue'))
    throw new CheckpointConfigError(
      `\`continue_on_error: ${String(continues)}\` and \`on_error: ${String(onError)}\` say different things. Keep \`on_error\`.`,
      `${prefix}continue_on_error`,
    );
}

function retryChecks(retry: unknown, prefix: string): readonly (() => void)[] {
  if (retry === undefined) return [];
  if (!isMapping(retry))
    return [
      () => {
        throw new CheckpointConfigError(`\`retry\` is a mapping of ${RETRY_KEYS.join(', ')}; got ${kindOf(retry)}.`, `${prefix}retry`);
      },
    ];
  const inside = `${prefix}retry.`;
  return [
    ...Object.keys(retry).map((key) => () => {
      if (RETRY_KEYS.includes(key)) return;
      throw new CheckpointConfigError(
        `\`retry\` has no setting \`${key}\`.${didYouMean(key, RETRY_KEYS)} It knows: ${RETRY_KEYS.join(', ')}.`,
        `${inside}${key}`,
      );
    }),
    () => checkAttempts(retry['maximum_attempts'], 'maximum_attempts', inside),
    () => checkSeconds(retry['initial_interval'], 'initial_interval', inside),
    () => checkSeconds(retry['maximum_interval'], 'maximum_interval', inside),
    () => checkBackoff(retry['backoff'], inside),
    () => checkIntervals(retry, inside),
  ];
}

function checkBackoff(backoff: unknown, inside: string): void {
  if (backoff === undefined || (typeof backoff === 'number' && backoff >= 1 && backoff <= 1000)) return;
  throw new CheckpointConfigError(
    `\`backoff\` is the factor from one wait to the next, from 1 to 1000; got ${JSON.stringify(backoff)}.${numberHint(backoff)}`,
    `${inside}backoff`,
  );
}

function checkIntervals({ initial_interval: first = 1, maximum_interval: longest }: Mapping, inside: string): void {
  // Temporal refuses such a policy, and the run would stand still for it.
  if (typeof longest === 'number' && typeof first === 'number' && longest < first)
    throw new CheckpointConfigError(
      `\`maximum_interval\` (${longest} s) is below \`initial_interval\` (${first} s).`,
      `${inside}maximum_interval`,
    );
}

function checkAttempts(attempts: unknown, key: string, prefix: string): void {
  if (attempts === undefined || (Number.isInteger(attempts) && (attempts as number) >= 1 && (attempts as number) <= MOST_ATTEMPTS)) return;
  throw new CheckpointConfigError(
    `\`${key}\` is the number of attempts in all: a whole number from 1 to ${MOST_ATTEMPTS}; got ${JSON.stringify(attempts)}.${numberHint(attempts)}`,
    `${prefix}${key}`,
  );
}

function checkSeconds(seconds: unknown, key: string, prefix: string): void {
  // Temporal counts in milliseconds, and takes none for no limit.
  if (seconds === undefined || (typeof seconds === 'number' && seconds >= 0.001 && seconds <= LONGEST)) return;
  throw new CheckpointConfigError(
    `\`${key}\` is in seconds, above 0 and at most ${LONGEST}; got ${JSON.stringify(seconds)}.${numberHint(seconds)}`,
    `${prefix}${key}`,
  );
}

function checkKind(mapping: Mapping, key: string, kind: 'string' | 'boolean', prefix: string): void {
  const value = mapping[key];
  if (value === undefined || typeof value === kind) return;
  const hint = kind === 'boolean' ? booleanHint(value) : typeof value === 'object' ? '' : ' Write it in quotes.';
  const wanted = kind === 'boolean' ? 'true or false' : 'a text';
  throw new CheckpointConfigError(`\`${key}\` must be ${wanted}; got ${kindOf(value)}.${hint}`, `${prefix}${key}`);
}
