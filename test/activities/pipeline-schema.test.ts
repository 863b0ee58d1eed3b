/** The JSON Schema of the document: current, and of one mind with the checks that a run makes. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { loadCatalog, optionProblems, stageOfType } from '../../activities/catalog.ts';
import { pipelineSchema } from '../../activities/pipeline-schema.ts';
import { STAGE_CONTROLS } from '../../src/pipeline/contract.ts';
import { shortTypesOf } from '../../src/pipeline/stage-names.ts';
import { checkDocument, optionsOf, PIPELINE_KEYS } from '../../src/pipeline/document.ts';
import { OWN_TYPES } from '../../src/pipeline/stage-kinds.ts';
import { PROJECT_ROOT } from '../support/project.ts';

const COMMITTED = join(PROJECT_ROOT, 'schema', 'pipeline.schema.json');
const EXAMPLES = join(PROJECT_ROOT, 'examples');

interface PipelineSchema {
  readonly properties: Readonly<Record<string, unknown>>;
  readonly definitions: Readonly<Record<string, { readonly properties: Readonly<Record<string, unknown>> }>>;
}

const schema = JSON.parse(readFileSync(COMMITTED, 'utf8')) as PipelineSchema;
const accepts = new Ajv({ allErrors: true, strictTypes: false }).compile(schema);

test('the committed schema is current; `npm run schema` writes it', async () => {
  expect(schema).toEqual(JSON.parse(JSON.stringify(pipelineSchema(await loadCatalog()))));
});

test('it knows the keys of a pipeline, every stage type, and the controls of each', async () => {
  expect(Object.keys(schema.properties).sort()).toEqual([...PIPELINE_KEYS].sort());
  expect(Object.keys(schema.definitions)).toEqual([...(await loadCatalog()).keys()]);
  for (const { properties } of Object.values(schema.definitions))
    expect(Object.keys(properties)).toEqual(expect.arrayContaining([...STAGE_CONTROLS]));
});

test('every option is described', () => {
  const bare = Object.entries(schema.definitions).flatMap(([type, { properties }]) =>
    Object.entries(properties)
      .filter(([, option]) => !('description' in (option as object)))
      .map(([name]) => `${type}.${name}`),
  );
  expect(bare).toEqual([]);
});

/** Folders of documents that the schema does not describe: Anemoi's own form, and stages of a plug-in. */
const OTHERS = /^(anemoi|plugin|schedules)\//;

const examples = readdirSync(EXAMPLES, { recursive: true })
  .map(String)
  .filter((name) => !OTHERS.test(name))
  .filter((name) => /\.ya?ml$/.test(name) && !name.startsWith('out') && !name.includes('node_modules'));

test.each(examples)('%s is accepted and names the schema for editors', (name) => {
  const text = readFileSync(join(EXAMPLES, name), 'utf8');
  accepts(parse(text));
  expect(accepts.errors ?? []).toEqual([]);
  const named = /^# yaml-language-server: \$schema=(\S+)$/m.exec(text)?.[1];
  expect(named).toBeDefined();
  const path = resolve(dirname(join(EXAMPLES, name)), named!);
  expect([path, existsSync(path)]).toEqual([COMMITTED, true]);
});

const publish = { type: 'sink.publish', uri: '/data/out.safetensors' };

test.each([
  ['no stages', {}],
  ['stages that are not a list', { stages: {} }],
  ['an unknown key', { stages: [], max_retry: 3 }],
  ['an unknown stage type', { stages: [{ type: 'source.lcoal' }] }],
  ['an unknown option', { stages: [{ ...publish, url: 'x' }] }],
  ['an unknown option beside a short type', { stages: [{ type: 's3', path: '/x' }] }],
  ['a missing option', { stages: [{ type: 'sink.publish' }] }],
  ['an option of the wrong kind', { stages: [{ ...publish, uri: 7 }] }],
  ['no attempts', { stages: [publish], max_retries: 0 }],
  ['half an attempt', { stages: [{ ...publish, max_retries: 1.5 }] }],
  ['no time', { stages: [{ ...publish, timeout: 0 }] }],
  ['a stage without a type', { stages: [{ uri: 'x' }] }],
])('refused: %s', (_name, document) => {
  expect(accepts(document)).toBe(false);
});

test.each([
  [
    'controls beside options',
    { name: 'x', stages: [{ ...publish, timeout: 60.5, max_retries: 2, continue_on_error: true }], workspace: '/data/w' },
  ],
  ['a source by its place', { stages: [{ source: 's3://bucket/last.ckpt' }, publish], 'x-anchors': {} }],
  ['and before all stages', { source: 's3://bucket/last.ckpt', stages: [publish] }],
  [
    'short types',
    {
      stages: [
        { type: 's3', url: 's3://bucket/last.ckpt' },
        { type: 'freeze', submodules_to_freeze: ['a'] },
        { ...publish, type: 'publish' },
      ],
    },
  ],
])('accepted: %s, and by the run as well', async (_name, document) => {
  accepts(document);
  expect(accepts.errors ?? []).toEqual([]);
  const catalog = await loadCatalog();
  for (const [index, stage] of checkDocument(document).stages.entries())
    expect(optionProblems(stageOfType(catalog, stage.type, index), optionsOf(stage), index)).toEqual([]);
});

test('our own stages are those of the catalog, and a short type means one of them', async () => {
  expect(OWN_TYPES).toEqual([...(await loadCatalog()).keys()]);
  const short = OWN_TYPES.flatMap((type) => shortTypesOf(type).map((name) => [name, type] as const));
  expect(short.map(([name]) => checkDocument({ stages: [{ type: name }] }).stages[0]!.type)).toEqual(short.map(([, type]) => type));
});
