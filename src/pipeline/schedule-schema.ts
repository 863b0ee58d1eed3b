/** The JSON Schema of a schedule document, for editors; what it cannot say, such as what a cron expression is, reading it does. */
import { NAME_SCHEMA } from './names.ts';
import { OVERLAPS, type SCHEDULE_KEYS } from './schedule.ts';

type Schema = Readonly<Record<string, unknown>>;

const DURATION = { type: ['string', 'number'], pattern: '^(\\d+(\\.\\d+)?[smhdw])+$', exclusiveMinimum: 0 };
const CRON = { type: 'string', minLength: 1 };

const PROPERTIES: Readonly<Record<(typeof SCHEDULE_KEYS)[number], Schema>> = {
  id: { ...NAME_SCHEMA, minLength: 1, description: 'name on the server, and first part of the ids of its runs; at most 500 bytes' },
  pipeline: { type: 'string', description: 'what runs: a pipeline document, relative to this one' },
  batch: { type: 'string', description: 'what runs: a batch document, relative to this one' },
  cron: {
    anyOf: [CRON, { type: 'array', minItems: 1, items: CRON }],
    description: 'when: minute, hour, day of month, month, day of week; or several of these',
  },
  every: { ...DURATION, description: 'when, in place of cron: seconds, or 90s, 15m, 6h, 1d, 1w' },
  offset: { ...DURATION, exclusiveMinimum: undefined, minimum: 0, description: 'with every: so long after the full interval' },
  time_zone: { type: 'string', description: 'of cron, such as Europe/Berlin; default UTC' },
  jitter: { ...DURATION, exclusiveMinimum: undefined, minimum: 0, description: 'each start is put off by chance, at most so long' },
  overlap: { enum: [...OVERLAPS], description: 'where the run before has not ended; default skip' },
  catch_up: { ...DURATION, description: 'how old a missed start may be to be made up for; default a year' },
  paused: { type: 'boolean', description: 'of a new schedule: it waits for `ckpt schedule unpause`' },
  note: { type: 'string', description: 'for people' },
};

const needsOne = (...keys: readonly string[]): Schema => ({ oneOf: keys.map((key) => ({ required: [key] })) });

export function scheduleSchema(): Schema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'checkpoint-pipeline schedule',
    description: 'A pipeline or a batch that starts by itself',
    type: 'object',
    required: ['id'],
    additionalProperties: false,
    properties: PROPERTIES,
    allOf: [needsOne('pipeline', 'batch'), needsOne('cron', 'every')],
  };
}
