/**
 * Checks of a pipeline document that need no catalog, so that the workflow can make them whoever started it.
 *
 * Workflow-safe and without zod, which would triple the workflow bundle; options are checked by each stage's own schema.
 */
import { CheckpointConfigError, type JsonObject } from '../errors.ts';
import { STAGE_CONTROLS, type PipelineInput, type StageSpec } from './contract.ts';

export const PIPELINE_KEYS = ['name', 'stages', 'max_retries', 'timeout', 'continue_on_error', 'workspace'];

/** Throws `CheckpointConfigError` where the document's shape is wrong; gives it back typed. */
export function checkDocument(document: unknown): PipelineInput {
  if (!isObject(document)) throw new CheckpointConfigError(`A pipeline is a mapping with a list \`stages\`, not ${kindOf(document)}.`, '');
  for (const key of Object.keys(document)) {
    if (!PIPELINE_KEYS.includes(key))
      throw new CheckpointConfigError(`Unknown key \`${key}\`. A pipeline knows: ${PIPELINE_KEYS.join(', ')}.`, key);
  }
  checkControls(document, '');
  checkKind(document, 'name', 'string', '');
  checkKind(document, 'workspace', 'string', '');
  const stages = document['stages'];
  if (!Array.isArray(stages))
    throw new CheckpointConfigError(`\`stages\` must be a list of stages, each with a \`type\`; got ${kindOf(stages)}.`, 'stages');
  stages.forEach((stage: unknown, index) => {
    const path = `stages[${index}]`;
    if (!isObject(stage))
      throw new CheckpointConfigError(
        `${path} must be a mapping with a \`type\`, such as \`type: source.local\`; got ${kindOf(stage)}.`,
        path,
      );
    if (typeof stage['type'] !== 'string')
      throw new CheckpointConfigError(`${path} has no \`type\`. Run \`ckpt stages\` for the list.`, `${path}.type`);
    checkControls(stage, `${path}.`);
  });
  return document as unknown as PipelineInput;
}

/** A stage's own options: everything beside its type and controls. */
export function optionsOf(stage: StageSpec): JsonObject {
  const controls: readonly string[] = STAGE_CONTROLS;
  return Object.fromEntries(Object.entries(stage).filter(([key, value]) => !controls.includes(key) && value !== undefined)) as JsonObject;
}

function checkControls(mapping: Record<string, unknown>, prefix: string): void {
  const attempts = mapping['max_retries'];
  if (attempts !== undefined && !(Number.isInteger(attempts) && (attempts as number) >= 1)) {
    throw new CheckpointConfigError(
      `\`max_retries\` is the number of attempts in all: a whole number from 1; got ${JSON.stringify(attempts)}.`,
      `${prefix}max_retries`,
    );
  }
  const timeout = mapping['timeout'];
  if (timeout !== undefined && !(typeof timeout === 'number' && timeout > 0)) {
    throw new CheckpointConfigError(`\`timeout\` is in seconds and above 0; got ${JSON.stringify(timeout)}.`, `${prefix}timeout`);
  }
  checkKind(mapping, 'continue_on_error', 'boolean', prefix);
}

function checkKind(mapping: Record<string, unknown>, key: string, kind: 'string' | 'boolean', prefix: string): void {
  const value = mapping[key];
  if (value !== undefined && typeof value !== kind)
    throw new CheckpointConfigError(`\`${key}\` must be a ${kind}; got ${kindOf(value)}.`, `${prefix}${key}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function kindOf(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  return Array.isArray(value) ? 'a list' : `a ${typeof value}`;
}
