/** What a schedule may say, in the document and to editors. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { scheduleSchema } from '../../src/pipeline/schedule-schema.ts';
import { checkSchedule, SCHEDULE_KEYS, secondsOf } from '../../src/pipeline/schedule.ts';
import { PROJECT_ROOT } from '../support/project.ts';

const pipeline = { stages: [] };
const cron = '0 3 * * *';

const COMMITTED = join(PROJECT_ROOT, 'schema', 'schedule.schema.json');
const schema = JSON.parse(readFileSync(COMMITTED, 'utf8')) as { readonly properties: object };
const accepts = new Ajv({ allErrors: true, strictTypes: false }).compile(schema);

test.each([
  [90, 90],
  ['90s', 90],
  ['15m', 900],
  ['1h30m', 5400],
  ['1.5h', 5400],
  ['1d', 86_400],
  ['2w', 1_209_600],
])('%j is %d seconds', (given, seconds) => {
  expect(secondsOf(given, 'every', 1)).toBe(seconds);
});

test.each([['90'], ['h'], [''], ['-1h'], ['1 h'], [0], [-5], [Number.NaN], [Infinity], [null], [['1h']], ['1y']])(
  '%j is not a time',
  (given) => {
    expect(() => secondsOf(given, 'every', 1)).toThrow(/`every` is a time of at least 1 s.*`15m`/);
  },
);

const GOOD: readonly (readonly [string, object])[] = [
  ['cron', { cron }],
  ['several', { cron: [cron, '30 12 * * MON-FRI', '@daily'] }],
  ['seconds and a year', { cron: '0 0 3 1 1 * 2027' }],
  [
    'an interval with everything',
    { every: '6h', offset: '30m', jitter: 60, overlap: 'allow_all', catch_up: '1d', paused: true, note: 'x' },
  ],
  ['a time zone', { cron, time_zone: 'America/New_York' }],
];

test.each(GOOD)('taken: %s', (_name, timing) => {
  expect(checkSchedule({ pipeline, ...timing })).toEqual({ pipeline, ...timing });
  accepts({ id: 'x', pipeline: 'p.yaml', ...timing });
  expect(accepts.errors ?? []).toEqual([]);
});

const BAD: readonly (readonly [string, object, string, string])[] = [
  ['no time at all', {}, '', 'either `cron`'],
  ['both', { cron, every: '1h' }, 'every', 'either `cron`'],
  ['a typo', { corn: cron }, 'corn', 'Did you mean `cron`?'],
  ['four fields', { cron: '0 3 * *' }, 'cron', 'five fields'],
  ['@every', { cron: '@every 5m' }, 'cron', 'Use `every`'],
  ['a zone in the expression', { cron: 'CRON_TZ=UTC 0 3 * * *' }, 'cron', 'Use `time_zone`'],
  ['one of several', { cron: [cron, 7] }, 'cron[1]', 'got 7'],
  ['an empty list', { cron: [] }, 'cron', 'empty'],
  ['no interval', { every: 0 }, 'every', 'at least 1 s'],
  ['an offset without one', { cron, offset: '1h' }, 'offset', 'goes with `every`'],
  ['an offset beyond it', { every: '1h', offset: '2h' }, 'offset', 'shorter'],
  ['no zone', { cron, time_zone: 'Mars/Olympus' }, 'time_zone', 'Europe/Berlin'],
  ['no policy', { cron, overlap: 'skp' }, 'overlap', 'Did you mean `skip`?'],
  ['no window', { cron, catch_up: 5 }, 'catch_up', 'at least 10 s'],
  ['no boolean', { cron, paused: 'yes' }, 'paused', 'true or false'],
  ['no text', { cron, note: 3 }, 'note', 'text'],
  ['no pipeline', { cron, pipeline: undefined }, '', 'either a `pipeline` or a `batch`'],
  ['both again', { cron, batch: { items: ['x'], pipeline } }, 'batch', 'either a `pipeline` or a `batch`'],
  ['a broken pipeline', { cron, pipeline: { stages: 3 } }, 'stages', 'must be a list'],
];

test.each(BAD)('refused: %s', (_name, change, path, words) => {
  let error: unknown;
  try {
    checkSchedule({ pipeline, ...change });
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toMatchObject({ code: 'CheckpointConfigError', details: { config_path: path }, message: expect.stringContaining(words) });
});

test('the committed schema is current, and knows every key; `npm run schema` writes it', () => {
  expect(schema).toEqual(JSON.parse(JSON.stringify(scheduleSchema())));
  expect(Object.keys(schema.properties).sort()).toEqual([...SCHEDULE_KEYS].sort());
});

test.each([
  ['no id', { pipeline: 'p.yaml', cron }],
  ['nothing to run', { id: 'x', cron }],
  ['two things to run', { id: 'x', cron, pipeline: 'p.yaml', batch: 'b.yaml' }],
  ['no time', { id: 'x', pipeline: 'p.yaml' }],
  ['two times', { id: 'x', pipeline: 'p.yaml', cron, every: '1h' }],
  ['a typo', { id: 'x', pipeline: 'p.yaml', cron, jiter: '1h' }],
  ['no duration', { id: 'x', pipeline: 'p.yaml', every: 'often' }],
  ['no policy', { id: 'x', pipeline: 'p.yaml', cron, overlap: 'skp' }],
])('the schema refuses: %s', (_name, document) => {
  expect(accepts(document)).toBe(false);
});

test('the example is accepted, and names the schema and a pipeline', () => {
  const path = join(PROJECT_ROOT, 'examples', 'schedules', 'nightly.yaml');
  const text = readFileSync(path, 'utf8');
  const document = parse(text) as { readonly pipeline: string };
  accepts(document);
  expect(accepts.errors ?? []).toEqual([]);
  expect(resolve(dirname(path), /^# yaml-language-server: \$schema=(\S+)$/m.exec(text)![1]!)).toBe(COMMITTED);
  expect(existsSync(resolve(dirname(path), document.pipeline))).toBe(true);
});
