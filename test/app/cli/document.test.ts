/** Documents from files: every accepted form, and the line and column of what is wrong. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readAny } from '../../../src/app/cli/any-document.ts';
import { readBatch } from '../../../src/app/cli/batch-document.ts';
import { readDocument, type DocumentSettings } from '../../../src/app/cli/document.ts';
import { readSchedule } from '../../../src/app/cli/schedule-document.ts';
import type { CheckpointError } from '../../../src/errors.ts';
import { fixture } from '../../support/project.ts';

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

test('a folder is told as one', async () => {
  await expect(readDocument(folder)).rejects.toMatchObject({
    code: 'CheckpointConfigError',
    message: `${folder} is a folder; a pipeline document is a file, in YAML or JSON.`,
  });
});

test.each(['good/lightning_trained.ckpt', 'good/dtypes_legacy.pt', 'good/plain.safetensors'])(
  'a checkpoint (%s) is told as one, with what takes it',
  async (name) => {
    await expect(readDocument(fixture(name))).rejects.toMatchObject({
      code: 'CheckpointConfigError',
      message: expect.stringMatching(/ is a checkpoint, and no pipeline document: `ckpt convert` /),
    });
  },
);

test.each([
  ['a key', 'stages:\n  - type: local\n\u00a0   path: /x\n', '3:1'],
  ['a value', 'stages: [{type: local, path: /x\u2009}]\n', '1:32'],
])('a strange blank at %s is named', async (_, text, place) => {
  await expect(read(text)).rejects.toMatchObject({ message: expect.stringMatching(new RegExp(`:${place}: Here is .*U\\+`)) });
});

test('one in quotes belongs to its text', async () => {
  expect(await read('stages: [{type: local, path: "/x\u00a0"}]\n')).toEqual({ stages: [{ type: 'source.local', path: '/x\u00a0' }] });
});

test('a reference without quotes in braces: quotes are what it needs', async () => {
  await expect(read('stages:\n  - {type: local, path: ${param.x}}\n')).rejects.toMatchObject({
    message: expect.stringMatching(/pipeline\.yaml:2:26: .*needs quotes/),
  });
});

test.each([
  ['a device that never ends', '/dev/zero'],
  ['a file', 'large.yaml'],
])('of %s no more is read than a document may have', async (_, file) => {
  await writeFile(join(folder, 'large.yaml'), '#'.repeat(2 ** 20 + 1));
  const path = resolve(folder, file);
  await expect(readDocument(path)).rejects.toMatchObject({
    code: 'CheckpointConfigError',
    message: `${path} has more than the 1048576 bytes that a pipeline document has at most. Is it the checkpoint itself?`,
  });
});

test.each([
  [
    'Latin-1',
    Buffer.from('stages:\n  - {type: local, path: gewichte-für.ckpt}\n', 'latin1'),
    /pipeline\.yaml, line 2: the byte 0xfc at 42 is not UTF-8\. Save the file in that encoding\.$/,
  ],
  [
    'UTF-16',
    Buffer.from('\ufeffstages: []\n', 'utf16le'),
    /pipeline\.yaml is in UTF-16, as some programs of Windows save text\. Save it as UTF-8\.$/,
  ],
  ['UTF-16 without a mark', Buffer.from('stages: []\n', 'utf16le').swap16(), /pipeline\.yaml is in UTF-16/],
])('a document in %s is refused, and none of its characters replaced', async (_, bytes, message) => {
  const file = join(folder, 'pipeline.yaml');
  await writeFile(file, bytes);
  await expect(readDocument(file)).rejects.toMatchObject({ code: 'CheckpointConfigError', message: expect.stringMatching(message) });
});

test('a mark of byte order before UTF-8 is none of its characters', async () => {
  expect(await read('\ufeffstages: [{type: local, path: /für.pt}]\n')).toEqual({ stages: [{ type: 'source.local', path: '/für.pt' }] });
});

test('a pipe is read to its end, however slowly it is written', async () => {
  const pipe = join(folder, 'pipe');
  expect(spawnSync('mkfifo', [pipe]).status).toBe(0);
  const written = promisify(execFile)('sh', ['-c', `{ echo stages:; sleep 0.3; echo '  - {type: local, path: /x.pt}'; } > ${pipe}`]);
  expect(await readDocument(pipe)).toMatchObject({ stages: [{ type: 'source.local', path: '/x.pt' }] });
  await written;
});

test('a target that stands in the document is left as it is', async () => {
  const { stages } = await read('stages:\n  - type: loader.weights_only\n    target: {w: {shape: [2], dtype: F32}}\n');
  expect(stages[0]).toEqual({ type: 'loader.weights_only', target: { w: { shape: [2], dtype: 'F32' } } });
});

test.each([
  ['sink.publish, uri: "ftp://us:hush@h/x"', 'a user name or password'],
  ['source.local, path: "ftp://us:hush@h/x"', 'a user name or password'],
  ['sink.publish, uri: "s3://AKIA:wJ/hush@bucket/x"', 'a user name or password'],
  ['source.s3, url: "s3://AKIA:wJ/hush@bucket/x"', 'a user name or password'],
  ['source.s3, url: "s3://bucket/x?versionId=a&X-Amz-Signature=hush"', 'the parameter `X-Amz-Signature` is a credential'],
  ['source.local, path: "file:///x.ckpt?token=hush"', 'the parameter `token` is a credential'],
  ['source.local, uri: "ftp://h/x"', 'is not a local path'],
  ['sink.publish, uri: "ftp://h/x"', 'can be written to'],
  ['sink.publish, uri: "https://h/x"', 'can be written to'],
  ['sink.publish, uri: out/', 'names a folder; say the file'],
  ['sink.publish, uri: "s3://b/out/"', 'names a folder; say the file'],
])('%s is refused before a run starts', async (stage, message) => {
  const refused: CheckpointError = await read(`stages:\n  - {type: ${stage}}\n`).then(
    () => undefined as never,
    (error: CheckpointError) => error,
  );
  expect(refused).toMatchObject({ code: 'CheckpointConfigError', message: expect.stringContaining(message) });
  expect(JSON.stringify([refused.message, refused.details])).not.toContain('hush');
});

test('so is a workspace with a credential', async () => {
  const refused = read('workspace: "s3://bucket/w?sig=hush"\nstages:\n  - {type: source.local, path: /x}\n');
  await expect(refused).rejects.toMatchObject({
    message: expect.stringMatching(/^(?!.*hush).*:1:1: .*the parameter `sig` is a credential/),
  });
});

describe('the place of an error', () => {
  test.each<[string, string, number, number]>([
    ['an alias of nothing', 'stages:\n  - {type: source.local, path: x}\n  - *nope\n', 3, 5],
    ['an alias that comes before its anchor', 'x-a: *a\nx-b: &a 1\n', 1, 6],
    ['an alias of what it stands in', 'x-a: &a [1, *a]\nstages: []\n', 1, 13],
    ['the same deeper', 'x-a: &a {b: {c: [*a]}}\nstages: []\n', 1, 18],
    ['a version that is named twice', 'stages:\n  - type: source.s3\n    url: s3://bucket/x?versionId=a\n    version_id: b\n', 4, 5],
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
    ['a setting of Anemoi’s pipeline', 'training:\n  checkpoint_pipeline:\n    stages: []\n    continue_on_error: 7\n', 4, 5],
    [
      'a setting within one of Anemoi’s blocks',
      'training:\n  checkpoint:\n    source: x\n    retry:\n      maximum_attempts: 2\n      backoff: 0\n',
      6,
      7,
    ],
    ['a setting beside Anemoi’s pipeline', 'checkpoint_pipeline:\n  stages: []\nmax_retries: no\n', 3, 1],
    [
      'an output over its own source',
      'stages:\n  - {type: local, path: a.ckpt}\n  - type: warm_start\n  - type: publish\n    uri: b/../a.ckpt\n',
      5,
      5,
    ],
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

describe('words that are booleans in YAML 1.1', () => {
  const stages = (at: string): string =>
    [
      '- _target_: anemoi.training.checkpoint.sources.LocalSource',
      '  path: "on"',
      '- _target_: anemoi.training.checkpoint.loading.WeightsOnlyLoader',
      '  strict: Off',
      '- _target_: anemoi.training.checkpoint.modifiers.FreezingModifierStage',
      '  submodules_to_freeze: [model.encoder, !!str no]',
      '  validate_gradients: yes',
    ]
      .map((line) => `${at}${line}\n`)
      .join('');
  const understood = {
    continue_on_error: true,
    stages: [
      { type: 'source.local', path: expect.stringMatching(/\/on$/) },
      { type: 'loader.weights_only', strict: false },
      { type: 'modifier.freezing', submodules_to_freeze: ['model.encoder', 'no'], validate_gradients: true },
    ],
  };

  test.each<[string, string]>([
    ['its configuration', `training:\n  checkpoint_pipeline:\n    continue_on_error: yes\n    stages:\n${stages('      ')}`],
    ['its pipeline at the root', `checkpoint_pipeline:\n  continue_on_error: ON\n  stages:\n${stages('    ')}`],
    ['a list of its stages', `continue_on_error: on\nstages:\n${stages('  ')}`],
  ])('are so in Anemoi’s forms, where nothing quotes them: %s', async (_form, text) => {
    expect(await read(text)).toEqual(understood);
  });

  test('are so in the template of a batch', async () => {
    const file = join(folder, 'batch.yaml');
    const pipeline = `checkpoint_pipeline:\n    continue_on_error: yes\n    stages:\n${stages('      ')}`;
    await writeFile(file, `items: [/a.ckpt]\npipeline:\n  ${pipeline}`);
    expect((await readBatch(file, {})).pipeline).toEqual(understood);
  });

  test('and in nothing else of the batch', async () => {
    const file = join(folder, 'batch.yaml');
    const item = { uri: '/a.ckpt', key: 'on', tag: 'no' };
    const pipeline = `checkpoint_pipeline:\n    continue_on_error: yes\n    stages:\n${stages('      ')}`;
    await writeFile(file, `items: [{uri: /a.ckpt, key: on, tag: no}]\npipeline:\n  ${pipeline}`);
    expect(await readBatch(file, {})).toMatchObject({ items: [item], pipeline: understood });
  });

  test('are texts in a list of our own stages, whatever stands beside it', async () => {
    const text = 'training: {lr: 1}\nstages:\n  - {type: freeze, submodules_to_freeze: [no, model.on]}\n';
    expect((await read(text)).stages[0]).toMatchObject({ submodules_to_freeze: ['no', 'model.on'] });
  });

  test.each<[string, string, string]>([
    ['continue_on_error: yes\nstages: []\n', 'pipeline.yaml:1:1: ', '`yes` is a text here: write true or false.'],
    [
      'stages:\n  - type: loader.weights_only\n    strict: Off\n',
      'pipeline.yaml:3:5: ',
      'expected true or false, got the text `Off`. Write `false`.',
    ],
    ['checkpoint_pipeline:\n  stages: []\n  continue_on_error: "no"\n', 'pipeline.yaml:3:3: ', '`no` is a text here: write true or false.'],
  ])('are texts elsewhere, which is said: %j', async (text, place, advice) => {
    await expect(read(text)).rejects.toMatchObject({
      code: 'CheckpointConfigError',
      message: expect.stringMatching(new RegExp(`${place}.*${advice}$`)),
    });
  });
});

describe('what could never run is refused before anything does', () => {
  test.each<[string, string, string, number, string]>([
    [
      'a group without its end',
      'modifier.rename\n    rules:\n      - {pattern: a, replacement: b}\n      - {pattern: "(", replacement: b}',
      'rules[1].pattern',
      5,
      'is not a valid RE2 expression',
    ],
    ['lookaround', 'modifier.rename\n    rules: [{pattern: "(?=a)", replacement: b}]', 'rules[0].pattern', 3, 'Lookaround'],
    ['a glob of select', 'modifier.select\n    include: [a]\n    exclude: ["[z"]', 'exclude[0]', 4, 'without its `]`'],
    ['a glob of cast', 'modifier.cast\n    rules: [{names: "{z", dtype: F16}]', 'rules[0].names', 3, 'without its `}`'],
    [
      'several globs in a rule of cast',
      'modifier.cast\n    rules: [{names: ["a*"], dtype: F16}]',
      'rules[0].names',
      3,
      'expected one glob, as text',
    ],
    ['nothing to freeze', 'modifier.freezing\n    strict: true', 'submodules_to_freeze', 2, 'alias `layers`'],
    ['both names of one list', 'modifier.freezing\n    submodules_to_freeze: [a]\n    layers: [b]', 'layers', 4, 'Keep one of them.'],
    [
      'a key that another stage writes',
      'modifier.metadata\n    values:\n      a: 1\n      frozen_parameters: b',
      'values.frozen_parameters',
      5,
      'modifier.freezing alone',
    ],
    ['a key that would be lost', 'modifier.metadata\n    values: {a: 1, __proto__: b}', 'values.__proto__', 3, 'another name'],
    ['too long a label', `modifier.metadata\n    values: {a: ${'x'.repeat(65_536)}}`, 'values', 3, 'have 65537 characters'],
    [
      'shards of a format without any',
      'sink.publish\n    uri: a.pt\n    format: pytorch\n    shard_size: 64',
      'shard_size',
      5,
      'pytorch is written as one file',
    ],
    [
      'a dtype that is none',
      'loader.weights_only\n    target:\n      a.b:\n        shape: [4]\n        dtype: I33',
      'target.a.b.dtype',
      6,
      '"I33". Did you mean',
    ],
    ['a dtype that is not there', 'loader.cold_start\n    target: {a: {shape: [4]}}', 'target.a.dtype', 3, 'is missing. Expected'],
    ['a negative size', 'loader.warm_start\n    target: {a: {shape: [-4], dtype: F32}}', 'target.a.shape', 3, 'the shape of "a"'],
    ['a transfer to no model', 'loader.transfer_learning', 'target', 2, 'say which model the weights must fit'],
    ['strictness about no model', 'loader.weights_only\n    strict: true', 'target', 2, '`strict: true` compares names with it'],
    ['a target of nothing', 'loader.transfer_learning\n    target: {}', 'target', 3, 'it names no tensor'],
    [
      'values out of names and shapes',
      'loader.weights_only\n    fill: target\n    target: {a: {shape: [4], dtype: F32}}',
      'fill',
      3,
      'no values to fill with',
    ],
  ])('%s', async (_name, stage, option, line, words) => {
    const error = await read(`stages:\n  - type: ${stage}\n`).then(
      () => undefined,
      (thrown: unknown) => thrown as CheckpointError,
    );
    expect(error).toMatchObject({ code: 'CheckpointConfigError', details: { config_path: `stages[0].${option}`, line } });
    expect(error?.message).toContain(words);
    expect(error?.message).not.toMatch(/[.?]\. /);
  });

  test('what an item of a batch fills in is not yet there', async () => {
    const text = 'items: [a.ckpt]\npipeline:\n  stages:\n    - {type: modifier.select, include: ["[${item.stem}"]}\n';
    const file = join(folder, 'batch.yaml');
    await writeFile(file, text);
    await expect(readBatch(file, {})).resolves.toBeDefined();
  });

  test('the home folder in the places of a batch', async () => {
    const file = join(folder, 'batch.yaml');
    const stage = '{type: sink.publish, uri: "~/out/${item.stem}"}';
    await writeFile(file, `items: {uri: ~/runs, glob: "*.pt"}\nresults: ~/r.jsonl\npipeline:\n  stages:\n    - ${stage}\n`);
    expect(await readBatch(file, {})).toMatchObject({
      items: { uri: join(homedir(), 'runs') },
      results: join(homedir(), 'r.jsonl'),
      pipeline: { stages: [{ uri: join(homedir(), 'out/${item.stem}') }] },
    });
  });
});

describe('two outputs of which one destroys the other', () => {
  const publish = (...uris: readonly string[]): string =>
    `stages:\n${uris.map((uri) => `  - type: sink.publish\n    uri: ${uri}\n`).join('')}`;

  test.each([
    ['one place', 'out/a.safetensors', 'out/a.safetensors', 'is that of stages[0]'],
    ['one place in two spellings', 'out/a.safetensors', './out/../out/a.safetensors', 'is that of stages[0]'],
    ['one object', 's3://bucket/a', 's3://bucket/a', 'is that of stages[0]'],
    ['the manifest of the first', 'a', 'a.manifest.json', 'the manifest of stages[0]'],
    ['the report of the first', 'a', 'a.report.html', 'the report of stages[0]'],
    ['the first as manifest of the second', 'a.manifest.json', 'a', 'its manifest would be the output of stages[0]'],
  ])('%s', async (_name, first, second, words) => {
    await expect(read(publish(first, second))).rejects.toMatchObject({
      code: 'CheckpointConfigError',
      message: expect.stringContaining(words),
      details: { config_path: 'stages[1].uri', line: 5, column: 5 },
    });
  });

  test('others lie beside each other', async () => {
    await expect(read(publish('a.safetensors', 'a.pt', 'b/a.pt', 's3://bucket/a', 's3://bucket/a2'))).resolves.toBeDefined();
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

test('a document that is nested deeper than the parser goes is refused in words', async () => {
  const deep = `stages: ${'['.repeat(20_000)}`;
  await expect(read(deep)).rejects.toMatchObject({ code: 'CheckpointConfigError', message: expect.stringContaining('nested too deeply') });
});

describe('what stands for a reference is read as its option wants it', () => {
  const pipeline = (stage: string): string => `stages:\n  - {type: local, path: /a.ckpt}\n  - {type: weights_only}\n  - ${stage}\n`;

  test.each<[string, string, unknown]>([
    ['{type: modifier.metadata, values: {x: "${param.v}"}}', '1.10', { values: { x: '1.10' } }],
    ['{type: modifier.rename, add_prefix: "${param.v}"}', '17', { add_prefix: '17' }],
    ['{type: publish, uri: /x.safetensors, shard_size: "${param.v}"}', '1000', { uri: '/x.safetensors', shard_size: 1000 }],
    ['{type: publish, uri: /x.safetensors, overwrite: "${oc.env:NOT_THERE,null}"}', '', { uri: '/x.safetensors' }],
  ])('%s with %j', async (stage, v, options) => {
    const { stages } = await read(pipeline(stage), { parameters: { v } });
    expect(stages[2]).toEqual({ type: expect.any(String), ...(options as object) });
  });

  test('the name of a pipeline is text', async () => {
    const { name } = await read(`name: "\${param.run}"\n${pipeline('{type: publish, uri: /x.safetensors}')}`, {
      parameters: { run: '17' },
    });
    expect(name).toBe('17');
  });

  test('a value that is still to be written is an error at its place', async () => {
    const error = read(pipeline('{type: publish, uri: ???}'));
    await expect(error).rejects.toMatchObject({ details: { config_path: 'stages[2].uri', line: 4 } });
  });

  test.each([
    [
      'by a reference',
      `training: {run_id: ???}\n${pipeline('{type: publish, uri: "/out/${training.run_id}.safetensors"}')}`,
      'stages[2].uri',
    ],
    ['for the id of a run', 'training: {run_id: ???, load_weights_only: true}\nhardware: {paths: {checkpoints: /ck}}\n', 'training.run_id'],
    ['for the folder of runs', 'training: {run_id: a}\nhardware: {paths: {checkpoints: ???}}\n', 'hardware.paths.checkpoints'],
    ['for a file', 'training: {load_weights_only: true}\nsystem: {input: {warm_start: ???}}\n', 'system.input.warm_start'],
    [
      'for the folder of a file',
      'training: {load_weights_only: true}\nhardware: {files: {warm_start: a.ckpt}, paths: {warm_start: ???}}\n',
      'hardware.paths.warm_start',
    ],
  ])('so is one that is needed %s', async (_, text, place) => {
    await expect(read(text)).rejects.toMatchObject({
      message: expect.stringContaining('still has the placeholder'),
      details: { config_path: place },
    });
  });

  test('one that nothing needs may be left', async () => {
    const { stages } = await read(`training: {run_id: ???}\n${pipeline('{type: publish, uri: /x.safetensors}')}`);
    expect(stages).toHaveLength(3);
  });

  test('a location that begins with one of the document counts from there', async () => {
    const { stages } = await read(`base: sub\ntraining: {}\n${pipeline('{type: publish, uri: "${base}/x.safetensors"}')}`);
    expect(stages[2]).toEqual({ type: 'sink.publish', uri: join(folder, 'sub/x.safetensors') });
  });
});

test('a parameter that nothing uses is said', async () => {
  const notes: string[] = [];
  const text = 'stages:\n  - {type: local, path: "${param.name}"}\n  - {type: weights_only}\n';
  await read(text, { parameters: { name: '/a.ckpt', nmae: '/b.ckpt' }, note: (line) => notes.push(line) });
  expect(notes).toEqual([expect.stringContaining('`--param nmae=…` is not used')]);
  expect(notes[0]).toContain('Did you mean `name`?');
});

test('a setting that wants a number takes one from a reference however it is written', async () => {
  const text =
    "timeout: '${param.t}'\nretry: {backoff: '${param.t}'}\nstages:\n  - {type: source.local, path: /x, timeout: '${param.t}'}\n";
  expect(await read(text, { parameters: { t: '1.50' } })).toEqual({
    timeout: 1.5,
    retry: { backoff: 1.5 },
    stages: [{ type: 'source.local', path: '/x', timeout: 1.5 }],
  });
});

describe('settings of a pipeline take references, as options do', () => {
  const stages = 'stages:\n  - {type: local, path: /a.ckpt}\n';

  test('numbers, booleans and words, wherever they stand', async () => {
    const settings =
      'max_retries: "${param.n}"\ntimeout: "${param.t}"\non_error: "${param.e}"\nreport: "${param.r}"\nretry: {backoff: "${param.b}"}\nworkspace: "${oc.env:NOT_THERE,null}"\n';
    const parameters = { n: '5', t: '1.5', e: 'wait', r: 'true', b: '3' };
    expect(await read(`${settings}${stages}`, { parameters })).toEqual({
      max_retries: 5,
      timeout: 1.5,
      on_error: 'wait',
      report: true,
      retry: { backoff: 3 },
      stages: [{ type: 'source.local', path: '/a.ckpt' }],
    });
  });

  test('under Anemoi’s key, an error is where the setting is written', async () => {
    const text = 'training:\n  checkpoint_pipeline:\n    max_retries: ${param.n}\n    stages: [{type: local, path: /a.ckpt}]\n';
    await expect(read(text, { parameters: { n: 'many' } })).rejects.toMatchObject({
      message: expect.stringMatching(/pipeline\.yaml:3:5: .*got "many"/),
      details: { config_path: 'training.checkpoint_pipeline.max_retries' },
    });
  });
});

describe('all problems at once', () => {
  const problemsOf = async (reading: Promise<unknown>): Promise<unknown> =>
    reading.then(
      () => null,
      ({ details }: CheckpointError) => details['validation_errors'],
    );

  test('settings, unknown keys, references that nothing stands for, and options, in their order', async () => {
    const text = [
      "max_retries: '3'",
      'timeout: -5',
      'repot: true',
      'name: ${param.name}',
      'stages:',
      '  - {type: local, path: "${NOT_THERE}/${param.x}"}',
      '  - {type: weights_only, strict: "${NOT_THERE}", skip: 1, timeout: 0}',
      '  - {type: nothing}',
      '  - {type: publish, uri: /x, metadata: 1}',
      '',
    ].join('\n');
    expect(await problemsOf(read(text))).toEqual([
      expect.stringMatching(/^1:1: `max_retries` .* got "3"\. Write it without quotes: `3`\.$/),
      expect.stringMatching(/^2:1: `timeout`/),
      expect.stringMatching(/^3:1: Unknown key `repot`\. Did you mean `report`\?/),
      expect.stringMatching(/^4:1: .*--param name=…/),
      expect.stringMatching(/^6:\d+: .*NOT_THERE is not set/),
      expect.stringMatching(/^7:\d+: .*NOT_THERE is not set/),
      expect.stringMatching(/^7:\d+: .*`skip`/),
      expect.stringMatching(/^7:\d+: `timeout`/),
      expect.stringMatching(/^8:\d+: .*`nothing`/),
      expect.stringMatching(/^9:\d+: .*`metadata`/),
    ]);
  });

  test('every reference of one option', async () => {
    const stage = '{type: modifier.metadata, values: {a: "${A_}", b: "${B_}", c: 1}}';
    expect(await problemsOf(read(`stages:\n  - ${stage}\n`))).toEqual([
      expect.stringMatching(/^2:\d+: .*A_ is not set/),
      expect.stringMatching(/^2:\d+: .*B_ is not set/),
    ]);
  });

  test('more than can be read are counted', async () => {
    const values = Array.from({ length: 150 }, (_, index) => `k${index}: "\${A_}"`).join(', ');
    await expect(read(`stages:\n  - {type: modifier.metadata, values: {${values}}}\n`)).rejects.toMatchObject({
      message: expect.stringMatching(/150 problems, of which these are the first 100\.$/),
      details: { num_errors: 100 },
    });
  });
});

describe('references in a batch', () => {
  const batch = async (text: string, settings: DocumentSettings = {}) => {
    const file = join(folder, 'batch.yaml');
    await writeFile(file, `${text}\npipeline:\n  stages: [{type: local, path: "\${item.uri}"}]\n`);
    return readBatch(file, settings);
  };

  test('in its name, its items, its results and its numbers', async () => {
    const parameters = { run: '17', root: 'runs', n: '4' };
    const notes: string[] = [];
    const text =
      'name: "${param.run}"\nitems: {uri: "${param.root}/${param.run}"}\nresults: "out/${param.run}.jsonl"\nmax_concurrent: "${param.n}"';
    expect(await batch(text, { parameters, note: (line) => notes.push(line) })).toMatchObject({
      name: '17',
      items: { uri: join(process.cwd(), 'runs/17') },
      results: join(folder, 'out/17.jsonl'),
      max_concurrent: 4,
    });
    expect(notes).toEqual([]);
  });

  test('in a list of items', async () => {
    const { items } = await batch('items: ["${param.a}", {uri: "b/${param.a}", run: "${param.a}"}]', { parameters: { a: '1' } });
    expect(items).toEqual([join(process.cwd(), '1'), { uri: join(folder, 'b/1'), run: '1' }]);
  });

  test('a parameter that is used nowhere is said once', async () => {
    const notes: string[] = [];
    await batch('items: ["${param.a}"]', { parameters: { a: '1', b: '2' }, note: (line) => notes.push(line) });
    expect(notes).toEqual([expect.stringContaining('`--param b=…` is not used')]);
  });

  test('what nothing stands for is an error at its place, with all others', async () => {
    const error = batch('name: a\nitems: {uri: "${param.u}"}\nresults: "${NOT_THERE}.jsonl"\nmax_failures: "3"\nresult: x');
    await expect(error).rejects.toMatchObject({
      code: 'CheckpointConfigError',
      details: {
        validation_errors: [
          expect.stringMatching(/^2:9: .*--param u=…/),
          expect.stringMatching(/^3:1: .*NOT_THERE is not set/),
          expect.stringMatching(/^4:1: `max_failures`.*without quotes/),
          expect.stringMatching(/^5:1: Unknown key `result`/),
        ],
      },
    });
  });

  test('a value of an item is known in the pipeline alone', async () => {
    await expect(batch('items: [a]\nresults: "${item.key}.jsonl"')).rejects.toMatchObject({
      message: expect.stringMatching(/:2:1: `\$\{item\.key\}` .*only the `pipeline` of a batch knows items/),
    });
    expect(await batch('items: [a]\nresults: "/$${item.key}.jsonl"')).toMatchObject({ results: '/${item.key}.jsonl' });
  });
});

describe('references in a schedule', () => {
  const schedule = async (text: string, settings: DocumentSettings = {}) => {
    await writeFile(join(folder, 'p.yaml'), 'stages: [{type: local, path: "${param.path}"}]\n');
    const file = join(folder, 'schedule.yaml');
    await writeFile(file, text);
    return readSchedule(file, settings);
  };

  test('in all of its values', async () => {
    const text =
      'id: "${param.id}"\npipeline: "${param.what}.yaml"\nevery: "${param.every}"\nnote: "of ${param.id}"\npaused: "${param.paused}"\n';
    const notes: string[] = [];
    const parameters = { id: '17', what: join(folder, 'p'), every: '3600', paused: 'true', path: '/a.ckpt' };
    const { id, input } = await schedule(text, { parameters, note: (line) => notes.push(line) });
    expect({ id, ...input }).toEqual({
      id: '17',
      every: 3600,
      note: 'of 17',
      paused: true,
      pipeline: { stages: [{ type: 'source.local', path: '/a.ckpt' }] },
    });
    expect(notes).toEqual([]);
  });

  test('all that is wrong is told at once', async () => {
    const text = 'id: "${NOT_THERE}"\npipeline: p.yaml\nevery: soon\nevry: 6h\njitter: often\n';
    await expect(schedule(text)).rejects.toMatchObject({
      details: {
        validation_errors: [
          expect.stringMatching(/^1:1: .*NOT_THERE/),
          expect.stringMatching(/^3:1: `every`/),
          expect.stringMatching(/^4:1: Unknown key `evry`/),
          expect.stringMatching(/^5:1: `jitter`/),
        ],
      },
    });
  });
});

test('a pipeline in a schedule, in place of its path, is told as that', async () => {
  const file = join(folder, 'schedule.yaml');
  await writeFile(file, 'id: a\nevery: 1h\nnote: "${oc.env:NOT_THERE,null}"\npipeline: {stages: [{type: local, path: "${NOT_THERE}"}]}\n');
  await expect(readSchedule(file, {})).rejects.toThrow(/schedule\.yaml:4:1: `pipeline` is the path of a pipeline document/);
});

describe('a document of another kind', () => {
  const documents = {
    pipeline: 'stages: [{type: local, path: /a.ckpt}]\n',
    batch: 'items: [a]\nmax_failures: none\npipeline: {stages: [{type: local, path: "${item.uri}"}]}\n',
    schedule: 'id: nightly\nevery: 6h\nbatch: batch.yaml\n',
  };
  const fileOf = async (kind: keyof typeof documents): Promise<string> => {
    const file = join(folder, `other-${kind}.yaml`);
    await writeFile(file, documents[kind]);
    return file;
  };

  test.each([
    ['pipeline', 'batch', readBatch],
    ['pipeline', 'schedule', readSchedule],
    ['batch', 'pipeline', readDocument],
    ['batch', 'schedule', readSchedule],
    ['schedule', 'pipeline', readDocument],
    ['schedule', 'batch', readBatch],
  ] as const)('a %s in place of a %s is told as one, once', async (is, _, reader) => {
    const command = { pipeline: 'ckpt run', batch: 'ckpt batch run', schedule: 'ckpt schedule apply' }[is];
    await expect(reader(await fileOf(is), {})).rejects.toMatchObject({
      code: 'CheckpointConfigError',
      message: expect.stringMatching(new RegExp(`other-${is}\\.yaml:1:1: Unknown key .* Is it a ${is}\\? That is for \`${command}\`\\.`)),
    });
  });

  test('a batch whose `items` are misspelt is one all the same', async () => {
    const file = join(folder, 'batch.yaml');
    await writeFile(file, documents.batch.replace('items', 'itmes').replace('none', '5%'));
    await expect(readAny(file, {})).rejects.toThrow(/batch\.yaml:1:1: Unknown key `itmes`\. Did you mean `items`\? A batch knows: /);
  });

  test('`ckpt validate` takes it as what it is', async () => {
    expect(await readAny(await fileOf('pipeline'), {})).toMatchObject({
      kind: 'pipeline',
      pipeline: { stages: [{ type: 'source.local' }] },
    });
    await expect(readAny(await fileOf('batch'), {})).rejects.toThrow(/other-batch\.yaml:2:1: `max_failures`/);
    await writeFile(join(folder, 'batch.yaml'), documents.batch.replace('none', '5%'));
    expect(await readAny(join(folder, 'batch.yaml'), {})).toMatchObject({ kind: 'batch', batch: { items: [join(folder, 'a')] } });
    expect(await readAny(await fileOf('schedule'), {})).toMatchObject({ kind: 'schedule', id: 'nightly', batch: { max_failures: '5%' } });
  });
});

describe('metadata is what the document says', () => {
  const written =
    "version: 1.10, sha: 7e10, id: 010, none: -0.0, hex: 0x1f, big: 7e400, long: 12345678901234567890, on: True, text: '1.10', n: 3";
  const values = {
    version: '1.10',
    sha: '7e10',
    id: '010',
    none: '-0.0',
    hex: '0x1f',
    big: '7e400',
    long: '12345678901234567890',
    on: 'True',
    text: '1.10',
    n: '3',
  };

  test.each([
    ['in a stage', `stages:\n  - {type: metadata, values: {${written}}}\n`],
    ['behind an alias', `x-values: &v {${written}}\nstages:\n  - {type: metadata, values: *v}\n`],
    ['merged in', `x-values: &v {${written.replace(', n: 3', ', n: 4')}}\nstages:\n  - {type: metadata, values: {n: 3, <<: *v}}\n`],
    ['in a stage that is merged', `x-stage: &s {type: metadata, values: {${written}}}\nstages:\n  - {<<: *s, timeout: 5}\n`],
    ['under Anemoi’s key', `training:\n  checkpoint_pipeline:\n    stages: [{type: metadata, values: {${written}}}]\n`],
  ])('%s', async (_, text) => {
    const { stages } = await read(text);
    expect(stages[0]).toMatchObject({ type: 'modifier.metadata', values });
  });

  test('in the pipeline of a batch', async () => {
    const file = join(folder, 'batch.yaml');
    await writeFile(file, `items: [a]\npipeline:\n  stages: [{type: metadata, values: {${written}}}]\n`);
    expect((await readBatch(file, {})).pipeline.stages[0]).toMatchObject({ values });
  });

  test('a reference is what it comes to', async () => {
    const { stages } = await read('stages:\n  - {type: metadata, values: {a: "${param.a}", b: 1.10}}\n', { parameters: { a: '2.10' } });
    expect(stages[0]).toMatchObject({ values: { a: '2.10', b: '1.10' } });
  });
});

test.each([
  ['loader.weights_only', 'Write `- type: loader.weights_only`.'],
  ['{source.local: {path: /a.ckpt}}', 'Write `- type: source.local`, and below it its options: `path`.'],
  ['{weights_only: }', 'Write `- type: weights_only`.'],
])('a stage without `type`, as %s: how it is written', async (stage, words) => {
  await expect(read(`stages:\n  - ${stage}\n`)).rejects.toMatchObject({ message: expect.stringContaining(words), details: { line: 2 } });
});

test.each([
  ['pipeline', 'stage: []\n', readDocument, 'Unknown key `stage`. Did you mean `stages`?'],
  ['batch', 'itms: [a]\npipeline: {stages: []}\n', readBatch, 'Unknown key `itms`. Did you mean `items`?'],
  ['schedule', 'id: x\npipeline: p.yaml\ncorn: 0 3 * * *\n', readSchedule, 'Unknown key `corn`. Did you mean `cron`?'],
] as const)('a key of a %s that is misspelt is told alone: that it is missing follows', async (kind, text, reader, words) => {
  const file = join(folder, `misspelt-${kind}.yaml`);
  await writeFile(file, text);
  await expect(reader(file, {})).rejects.toMatchObject({ message: expect.stringContaining(words) });
});
