/**
 * The JSON Schema of a batch document: a pipeline's, as the template, and around it what the batch does with it.
 *
 * Invariant: it accepts what `checkBatch` accepts, but for `items.failed_in`, which `ckpt batch retry` writes.
 */
import { MOST_CONCURRENT, MOST_CONTINUE_AFTER } from '../src/pipeline/batch-document.ts';
import type { BATCH_KEYS } from '../src/pipeline/batch.ts';
import { NAME_SCHEMA } from '../src/pipeline/names.ts';
import type { Catalog } from './catalog.ts';
import { pipelineSchema } from './pipeline-schema.ts';

type Schema = Readonly<Record<string, unknown>>;

const GLOB = { type: 'string', minLength: 1 };

const ITEMS = {
  description: 'the checkpoints: what lies under a folder or S3 prefix, the rows of a manifest, or a list',
  anyOf: [
    {
      type: 'object',
      required: ['uri'],
      additionalProperties: false,
      properties: {
        uri: { type: 'string', minLength: 1, description: 'folder or s3:// prefix' },
        glob: {
          anyOf: [GLOB, { type: 'array', items: GLOB }],
          description:
            'patterns over paths below it: * stays in a folder, ** crosses them, {a,b}; default **/*.{ckpt,pt,pth,bin,safetensors}',
        },
      },
    },
    {
      type: 'object',
      required: ['manifest'],
      additionalProperties: false,
      properties: {
        manifest: { type: 'string', minLength: 1, description: 'CSV with a line of column names, or JSON Lines; one column is `uri`' },
      },
    },
    {
      type: 'array',
      items: {
        anyOf: [
          { type: 'string', minLength: 1 },
          {
            type: 'object',
            required: ['uri'],
            properties: { uri: { type: 'string', minLength: 1 }, key: { type: 'string' } },
          },
        ],
      },
    },
  ],
};

export function batchSchema(catalog: Catalog): Schema {
  const { $schema, definitions, title: _title, ...template } = pipelineSchema(catalog);
  const properties: Readonly<Record<(typeof BATCH_KEYS)[number], Schema>> = {
    name: { ...NAME_SCHEMA, description: 'first part of the workflow id; at most 500 bytes' },
    items: ITEMS,
    pipeline: {
      ...template,
      description: 'run for each item; strings may hold ${item.uri}, ${item.key}, ${item.stem}, ${item.dir}, ${item.<column>}',
    },
    max_concurrent: { type: 'integer', minimum: 1, maximum: MOST_CONCURRENT, description: 'items at a time; default 16' },
    continue_on_error: { type: 'boolean', description: 'true: go on after failures without limit; default: the first one stops the batch' },
    max_failures: {
      anyOf: [
        { type: 'integer', minimum: 0 },
        { type: 'string', pattern: '^\\d+(\\.\\d+)?%$' },
      ],
      description: 'failures that are borne: a number, or a share of all items such as 5%',
    },
    results: {
      type: 'string',
      description: "path or s3:// URI of the results, a JSON line for each item; default: in the worker's workspace",
    },
    report: {
      type: 'boolean',
      description: 'leave a report beside the results: `<results>.report.html`; default false, of `ckpt batch run` true',
    },
    continue_after: {
      type: 'integer',
      minimum: 1,
      maximum: MOST_CONTINUE_AFTER,
      description: 'items after which the workflow continues as new; default: as the server suggests',
    },
  };
  return {
    $schema,
    title: 'checkpoint-pipeline batch',
    description: 'One pipeline for each of many training checkpoints',
    type: 'object',
    required: ['items', 'pipeline'],
    additionalProperties: false,
    properties,
    definitions,
  };
}
