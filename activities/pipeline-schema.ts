/**
 * The JSON Schema of a pipeline document, made from the catalog, for editors and for programs that write documents.
 *
 * Invariant: it accepts what `checkDocument` and the stages' own schemas accept; where a rule cannot be said in JSON Schema
 * (such as one option of two), the run says it.
 */
import { z } from 'zod';
import { ON_ERROR, type STAGE_CONTROLS } from '../src/pipeline/contract.ts';
import { MOST_STAGES } from '../src/pipeline/document.ts';
import { NAME_SCHEMA } from '../src/pipeline/names.ts';
import { shortTypesOf } from '../src/pipeline/stage-names.ts';
import type { Catalog } from './catalog.ts';
import type { StageDefinition } from './stage.ts';

type Schema = Readonly<Record<string, unknown>>;

const SETTINGS = {
  max_retries: { type: 'integer', minimum: 1, description: 'attempts of a stage in all; default 3' },
  timeout: {
    type: 'number',
    exclusiveMinimum: 0,
    description:
      'seconds one attempt of a stage may take; default 300, for a sink a day; of source.http, seconds without progress, default 30',
  },
  retry: {
    type: 'object',
    description: 'how a stage is tried again; what is left out comes from the pipeline, then from the defaults',
    additionalProperties: false,
    properties: {
      maximum_attempts: { type: 'integer', minimum: 1, description: 'attempts in all, before max_retries; default 3' },
      initial_interval: { type: 'number', exclusiveMinimum: 0, description: 'seconds before the second attempt; default 1' },
      backoff: { type: 'number', minimum: 1, description: 'factor from one wait to the next; default 2' },
      maximum_interval: { type: 'number', exclusiveMinimum: 0, description: 'longest wait in seconds; default 100 times the first' },
    },
  },
  on_error: {
    enum: [...ON_ERROR],
    description: 'after a failed stage: end the run, go on without its changes, or stand still until `ckpt resolve`; default fail',
  },
  continue_on_error: { type: 'boolean', description: 'true: on_error: continue' },
} as const;

/** Of a stage, beside the options of its type. */
const CONTROLS: Readonly<Record<Exclude<(typeof STAGE_CONTROLS)[number], 'type'>, Schema>> = SETTINGS;

/** `source: s3://bucket/last.ckpt`: a stage in short. */
const SHORTHAND = { type: 'string', minLength: 1, description: 'path or URI to read: short for a source stage, by its scheme' };

export function pipelineSchema(catalog: Catalog): Schema {
  const stages = [...catalog.values()];
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'checkpoint-pipeline',
    description: 'A pipeline over one training checkpoint: what is read, what is kept, what is published',
    type: 'object',
    required: ['stages'],
    additionalProperties: false,
    // Holders of YAML anchors.
    patternProperties: { '^x-': {} },
    properties: {
      name: { ...NAME_SCHEMA, description: 'first part of the workflow id; at most 500 bytes' },
      source: { ...SHORTHAND, description: 'path or URI to read first: short for a source stage, by its scheme' },
      stages: {
        type: 'array',
        maxItems: MOST_STAGES,
        description: `run in this order, each on what the one before it handed on; at most ${MOST_STAGES}`,
        items: {
          type: 'object',
          anyOf: [{ required: ['type'] }, { required: ['source'] }],
          properties: {
            source: SHORTHAND,
            type: {
              enum: [...stages.map(({ type }) => type), ...stages.flatMap(({ type }) => shortTypesOf(type))],
              description: 'what the stage does; `ckpt stages` lists all',
            },
          },
          // By its type, so that an editor says what is wrong with this stage and not that it is none of the others.
          allOf: stages.map((stage) => ({
            if: { properties: { type: typeSchema(stage) }, required: ['type'] },
            // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
            then: { $ref: `#/definitions/${stage.type}` },
          })),
        },
      },
      ...SETTINGS,
      async_execution: { type: 'boolean', description: 'accepted and without effect' },
      report: { type: 'boolean', description: 'leave a report beside each output: `<output>.report.html`; default false, of the CLI true' },
      workspace: { type: 'string', description: "where headers and plans are kept: path or URI; default: the worker's own" },
    },
    definitions: Object.fromEntries(stages.map((stage) => [stage.type, stageSchema(stage)])),
  };
}

/** Type, controls and options of one stage. */
function stageSchema(stage: StageDefinition): Schema {
  const { $schema: _, ...options } = z.toJSONSchema(stage.options, { io: 'input', target: 'draft-7' }) as Record<string, unknown>;
  return withControls(options, { type: { ...typeSchema(stage), description: stage.description }, ...CONTROLS });
}

/** In full, and in short. */
function typeSchema({ type }: StageDefinition): Schema {
  const short = shortTypesOf(type);
  return short.length === 0 ? { const: type } : { enum: [type, ...short] };
}

/** A stage's options are one mapping, or a choice of several. */
function withControls(options: Schema, controls: Schema): Schema {
  for (const choice of ['anyOf', 'oneOf'] as const) {
    const variants = options[choice];
    if (Array.isArray(variants)) return { ...options, [choice]: variants.map((variant) => withControls(variant as Schema, controls)) };
  }
  return { ...options, properties: { ...controls, ...(options['properties'] as Schema | undefined) } };
}
