import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { batchSchema } from '../../activities/batch-schema.ts';
import { loadCatalog } from '../../activities/catalog.ts';
import { checkBatch } from '../../src/pipeline/batch-document.ts';
import { BATCH_KEYS } from '../../src/pipeline/batch.ts';
import { PROJECT_ROOT } from '../support/project.ts';

const schema = JSON.parse(readFileSync(join(PROJECT_ROOT, 'schema', 'batch.schema.json'), 'utf8')) as { properties: object };
const accepts = new Ajv({ allErrors: true, strictTypes: false }).compile(schema);
const stages = [{ type: 'source.local', path: '${item.uri}' }];

test('the committed schema is current; `npm run schema` writes it', async () => {
  expect(schema).toEqual(JSON.parse(JSON.stringify(batchSchema(await loadCatalog()))));
  expect(Object.keys(schema.properties).sort()).toEqual([...BATCH_KEYS].sort());
});

test('it takes the example of the documentation', () => {
  const text = readFileSync(join(PROJECT_ROOT, 'docs', 'batch.md'), 'utf8');
  const example: unknown = parse(/```yaml\n(.*?)```/s.exec(text)![1]!);
  expect([accepts(example), accepts.errors]).toEqual([true, null]);
  expect(() => checkBatch(example)).not.toThrow();
});

test.each<[object, boolean]>([
  [{ items: ['a', { uri: 'b', column: 1 }], pipeline: { stages } }, true],
  [{ items: { uri: 'a', glob: ['*', 'b'] }, pipeline: { stages }, max_failures: '2.5%' }, true],
  [{ items: { manifest: 'a' }, pipeline: { stages }, max_failures: 3 }, true],
  [{ items: { manifest: 'a', glob: '*' }, pipeline: { stages } }, false],
  [{ items: { uri: 'a', globs: '*' }, pipeline: { stages } }, false],
  [{ items: [{ key: 'a' }], pipeline: { stages } }, false],
  [{ items: [], pipeline: { stages }, max_failures: '3 %' }, false],
  [{ items: [], pipeline: { stages }, max_concurrent: 0 }, false],
  [{ items: [], pipeline: { stages }, window: 3 }, false],
  [{ items: [], pipeline: { stages: [{ path: 'x' }] } }, false],
  [{ pipeline: { stages } }, false],
])('%j: the same word from the schema and from the check', (given, good) => {
  let taken = true;
  try {
    checkBatch(given);
  } catch {
    taken = false;
  }
  expect([accepts(given), taken]).toEqual([good, good]);
});
