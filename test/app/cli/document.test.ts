/** Documents from files: every accepted form, and the line and column of what is wrong. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readBatch } from '../../../src/app/cli/batch-document.ts';
import { readDocument, type DocumentSettings } from '../../../src/app/cli/document.ts';
import type { CheckpointError } from '../../../src/errors.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-document-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(text: string, settings: DocumentSettings = {}) {
  const file = join(folder, 'pipeline.yaml');
  await writeFile(file, text);
  return readDocument(file, settings);
}

test('locations count from the document, those of parameters from where the user stands', async () => {
  const { stages } = await read(
    'stages:\n  - {type: local, path: "${param.name}.ckpt"}\n  - {type: weights_only, target: t.pt}\n  - {type: publish, uri: out/x.safetensors}\n',
    { parameters: { name: 'last' } },
  );
  expect(stages).toEqual([
    { type: 'source.local', path: join(process.cwd(), 'last.ckpt') },
    { type: 'loader.weights_only', target: join(folder, 't.pt') },
    { type: 'sink.publish', uri: join(folder, 'out/x.safetensors') },
  ]);
});

test('a target that stands in the document is left as it is', async () => {
  const { stages } = await read('stages:\n  - type: loader.weights_only\n    target: {w: {shape: [2], dtype: F32}}\n');
  expect(stages[0]).toEqual({ type: 'loader.weights_only', target: { w: { shape: [2], dtype: 'F32' } } });
});

test.each([
  ['sink.publish, uri: "ftp://us:hush@h/x"', 'a user name or password'],
  ['source.local, path: "ftp://us:hush@h/x"', 'a user name or password'],
  ['source.local, uri: "ftp://h/x"', 'is not a local path'],
  ['sink.publish, uri: "ftp://h/x"', 'can be written to'],
  ['sink.publish, uri: "https://h/x"', 'can be written to'],
])('%s is refused before a run starts', async (stage, message) => {
  const refused: CheckpointError = await read(`stages:\n  - {type: ${stage}}\n`).then(
    () => undefined as never,
    (error: CheckpointError) => error,
  );
  expect(refused).toMatchObject({ code: 'CheckpointConfigError', message: expect.stringContaining(message) });
  expect(JSON.stringify([refused.message, refused.details])).not.toContain('hush');
});

describe('the place of an error', () => {
  test.each<[string, string, number, number]>([
    ['an option in our own form', 'stages:\n  - type: source.local\n    path: x\n    pth: y\n', 4, 5],
    [
      'an option inside Anemoi’s form',
      'data: 1\ntraining:\n  checkpoint_pipeline:\n    stages:\n      - _target_: anemoi.training.checkpoint.loading.WeightsOnlyLoader\n        stric: true\n',
      6,
      9,
    ],
    [
      'a target that is unknown',
      'training:\n  checkpoint:\n    source:\n      path: x\n      _target_: anemoi.training.checkpoint.sources.LocalSorce\n',
      5,
      7,
    ],
    ['a variable that is not set', 'stages:\n  - type: source.local\n    path: ${CKPT_TEST_NOT_THERE}/x\n', 3, 5],
    ['a rule inside a list', 'stages:\n  - type: modifier.rename\n    rules:\n      - pattern: a\n        replacment: b\n', 5, 9],
    ['a pipeline setting', 'training:\n  checkpoint_pipeline:\n    stages: []\n    max_retry: 3\n', 4, 5],
    ['both forms of a type', 'stages:\n  - type: s3\n    _target_: x\n', 2, 5],
  ])('%s', async (_name, text, line, column) => {
    const error = await read(text).then(
      () => undefined,
      (thrown: unknown) => thrown as CheckpointError,
    );
    expect(error?.code).toBe('CheckpointConfigError');
    expect([error?.details['line'], error?.details['column']]).toEqual([line, column]);
    expect(error?.message).toContain(`pipeline.yaml:${line}:${column}: `);
  });
});

describe('several problems', () => {
  const stages = [
    '- type: source.locl',
    '  path: x',
    '- type: loader.weights_only',
    '  strct: true',
    '- type: sink.publish',
    '  uri: y',
    '  format: safetensor',
    '  overwrite: 7',
  ];
  const says = (first: number, indent: number): readonly unknown[] =>
    [
      [0, 3, '`source.local`'],
      [3, 3, '`strict`'],
      [6, 3, 'got `safetensor`. Did you mean `safetensors`?'],
      [7, 3, '`overwrite`'],
    ].map(([line, column, text]) =>
      expect.stringMatching(new RegExp(`^${first + Number(line)}:${indent + Number(column)}: .*${String(text).replace('?', '\\?')}`)),
    );

  const refused = (reading: Promise<unknown>): Promise<CheckpointError> =>
    reading.then(
      () => Promise.reject(new Error('it should be refused')),
      (error: unknown) => error as CheckpointError,
    );

  test('all stages of a pipeline are told at once, each with its place', async () => {
    const error = await refused(read(`stages:\n${stages.join('\n')}\n`));
    expect(error).toMatchObject({ code: 'CheckpointConfigError', message: expect.stringMatching(/pipeline\.yaml: 4 problems\.$/) });
    expect(error.details).toMatchObject({ config_path: 'stages[0].type', line: 2, num_errors: 4, validation_errors: says(2, 0) });
  });

  test('and those of the pipeline of a batch', async () => {
    const file = join(folder, 'batch.yaml');
    await writeFile(file, `items: [a.ckpt]\npipeline:\n  stages:\n${stages.map((line) => `    ${line}`).join('\n')}\n`);
    const error = await refused(readBatch(file, {}));
    expect(error.details).toMatchObject({ config_path: 'pipeline.stages[0].type', line: 4, validation_errors: says(4, 4) });
  });
});
