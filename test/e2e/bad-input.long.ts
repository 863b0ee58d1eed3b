/**
 * What users get wrong, as they meet it: the exit code, one screen of text without a stack trace, the JSON shape, and nothing
 * left behind.
 */
import { randomUUID } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readdir, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import JSZip from 'jszip';
import type { ErrorReport } from '../../src/errors.ts';
import { ckpt, type Ended } from '../support/cli.ts';
import { freePort } from '../support/ports.ts';
import { fixture } from '../support/project.ts';
import { devServer } from '../support/temporal.ts';

/** What fits on a terminal of 80 columns. */
const SCREEN_LINES = 24;
const LONG = 180_000;

let environment: TestWorkflowEnvironment;
let folder: string;

beforeAll(async () => {
  environment = await devServer();
  folder = await mkdtemp(join(tmpdir(), 'ckpt-bad-'));
});
afterAll(async () => {
  await environment?.teardown();
  await rm(folder, { recursive: true, force: true });
});

interface Case {
  readonly name: string;
  /** The source as the document has it; relative to the document. */
  readonly source?: string;
  readonly target?: string;
  /** The whole document, where the case is about that. */
  readonly document?: string;
  readonly prepare?: (home: string) => Promise<unknown>;
  readonly env?: () => Promise<Readonly<Record<string, string>>>;
  readonly code: 1 | 2;
  readonly type: string;
  /** Texts that the message must have. */
  readonly says: readonly (string | RegExp)[];
  readonly details?: Readonly<Record<string, unknown>>;
}

const place = (line: number, column: number): Pick<Case, 'details'> => ({ details: { line, column, file: expect.any(String) } });

const FILES: readonly Case[] = [
  {
    name: 'missing file with near names',
    source: 'epoch=1-step=10.ckpt',
    prepare: (home) => copyFile(fixture('good/state_dict.pt'), join(home, 'epoch=1-step=100.ckpt')),
    code: 1,
    type: 'CheckpointNotFoundError',
    says: ['epoch=1-step=10.ckpt', 'epoch=1-step=100.ckpt'],
    details: { path: expect.stringContaining('epoch=1-step=10.ckpt') },
  },
  {
    name: 'missing file in a missing folder',
    source: 'no/such/last.ckpt',
    code: 1,
    type: 'CheckpointNotFoundError',
    says: ['no/such/last.ckpt'],
  },
  {
    name: 'directory',
    source: 'checkpoints',
    prepare: (home) => mkdir(join(home, 'checkpoints')),
    code: 1,
    type: 'CheckpointLoadError',
    says: ['checkpoints', 'folder'],
  },
  {
    name: 'empty file',
    source: 'empty.ckpt',
    prepare: (home) => writeFile(join(home, 'empty.ckpt'), ''),
    code: 1,
    type: 'CheckpointLoadError',
    says: ['empty.ckpt', 'empty'],
  },
  {
    name: 'text file',
    source: 'notes.ckpt',
    prepare: (home) => writeFile(join(home, 'notes.ckpt'), 'The run of Tuesday diverged; see the other one.\n'.repeat(40)),
    code: 1,
    type: 'CheckpointLoadError',
    says: ['notes.ckpt', 'text'],
  },
  {
    name: 'truncated archive',
    source: 'cut.ckpt',
    prepare: async (home) => {
      await copyFile(fixture('good/lightning_trained.ckpt'), join(home, 'cut.ckpt'));
      await truncate(join(home, 'cut.ckpt'), 4000);
    },
    code: 1,
    type: 'CheckpointLoadError',
    says: ['cut.ckpt', /truncated|cut|incomplete/i],
  },
  {
    name: 'archive without data.pkl',
    source: 'photos.ckpt',
    prepare: async (home) => {
      const zip = new JSZip().file('photos/one.jpg', 'one').file('photos/two.jpg', 'two');
      await writeFile(join(home, 'photos.ckpt'), await zip.generateAsync({ type: 'nodebuffer' }));
    },
    code: 1,
    type: 'CheckpointLoadError',
    says: ['photos.ckpt', 'data.pkl'],
  },
  {
    name: 'os.system in the pickle',
    source: 'evil.ckpt',
    prepare: (home) => copyFile(fixture('unsafe/call_os_system.pt'), join(home, 'evil.ckpt')),
    code: 1,
    type: 'CheckpointValidationError',
    says: ['evil.ckpt', 'os.system'],
    details: { validation_errors: expect.arrayContaining([expect.stringContaining('os.system')]) },
  },
  {
    name: 'whole nn.Module',
    source: 'module.pt',
    prepare: (home) => copyFile(fixture('unsafe/module_whole.pt'), join(home, 'module.pt')),
    code: 1,
    type: 'CheckpointValidationError',
    says: ['module.pt', 'state_dict'],
  },
  {
    name: 'destination equal to the source',
    source: 'model.pt',
    target: 'model.pt',
    prepare: (home) => copyFile(fixture('good/state_dict.pt'), join(home, 'model.pt')),
    code: 2,
    type: 'CheckpointConfigError',
    says: ['model.pt', 'is the source itself'],
  },
  {
    name: 'destination that is a link to the source',
    source: 'model.pt',
    target: 'link.pt',
    prepare: async (home) => {
      await copyFile(fixture('good/state_dict.pt'), join(home, 'model.pt'));
      await symlink('model.pt', join(home, 'link.pt'));
    },
    code: 1,
    type: 'CheckpointConfigError',
    says: ['link.pt', 'is the source itself'],
  },
  {
    name: 'destination that is a folder',
    source: 'model.pt',
    target: 'out',
    prepare: async (home) => {
      await copyFile(fixture('good/state_dict.pt'), join(home, 'model.pt'));
      await mkdir(join(home, 'out'));
    },
    code: 1,
    type: 'CheckpointConfigError',
    says: ['out', 'folder'],
  },
  {
    name: 'destination below a file',
    source: 'model.pt',
    target: 'model.pt/weights.safetensors',
    prepare: (home) => copyFile(fixture('good/state_dict.pt'), join(home, 'model.pt')),
    code: 1,
    type: 'CheckpointConfigError',
    says: ['model.pt/weights.safetensors', 'cannot be written'],
  },
];

const stage = (text: string): string => `stages:\n${text}`;

const DOCUMENTS: readonly Case[] = [
  {
    name: 'unknown stage type',
    document: stage('  - type: source.local\n    path: x.ckpt\n  - type: loader.weight_only\n'),
    code: 2,
    type: 'CheckpointConfigError',
    says: ['loader.weight_only', 'loader.weights_only', 'pipeline.yaml:4:5: '],
    ...place(4, 5),
  },
  {
    name: 'unknown option',
    document: stage('  - type: source.local\n    path: x.ckpt\n  - type: sink.publish\n    url: out.safetensors\n'),
    code: 2,
    type: 'CheckpointConfigError',
    says: ['`url`', '`uri`', /pipeline\.yaml:5:5: /],
    ...place(5, 5),
  },
  {
    name: 'missing option',
    document: stage('  - type: source.local\n    path: x.ckpt\n  - type: sink.publish\n'),
    code: 2,
    type: 'CheckpointConfigError',
    says: ['sink.publish: option `uri` is missing', 'pipeline.yaml:4:5: '],
    ...place(4, 5),
  },
  {
    name: 'option of the wrong kind',
    document: stage('  - type: source.local\n    path: 7\n'),
    code: 2,
    type: 'CheckpointConfigError',
    says: ['path', 'pipeline.yaml:3:5: '],
    ...place(3, 5),
  },
  {
    name: 'unknown key of the pipeline',
    document: 'name: x\nmax_retry: 3\nstages: []\n',
    code: 2,
    type: 'CheckpointConfigError',
    says: ['max_retry', 'max_retries', 'pipeline.yaml:2:1: '],
    ...place(2, 1),
  },
  {
    name: 'YAML that does not parse',
    document: 'name: x\nstages:\n  - {type: source.local\n',
    code: 2,
    type: 'CheckpointConfigError',
    says: [/pipeline\.yaml:\d+:\d+: /],
    details: { line: expect.any(Number), column: expect.any(Number) },
  },
  {
    name: 'a tab as indentation',
    document: 'stages:\n\t- type: source.local\n',
    code: 2,
    type: 'CheckpointConfigError',
    says: [/pipeline\.yaml:2:\d+: /],
  },
  {
    name: 'an empty document',
    document: '',
    code: 2,
    type: 'CheckpointConfigError',
    says: ['stages'],
  },
  {
    name: 'no server at a configured address',
    document: stage('  - type: source.local\n    path: x.ckpt\n'),
    env: async () => ({ TEMPORAL_ADDRESS: `127.0.0.1:${await freePort()}` }),
    code: 2,
    type: 'CheckpointConfigError',
    says: ['No Temporal server answers at 127.0.0.1:', 'TEMPORAL_ADDRESS'],
    details: { address: expect.stringContaining('127.0.0.1:') },
  },
  {
    name: 'a profile that is not configured',
    document: stage('  - type: source.local\n    path: x.ckpt\n'),
    env: async () => ({ TEMPORAL_ADDRESS: '', TEMPORAL_PROFILE: 'staging' }),
    code: 2,
    type: 'CheckpointConfigError',
    says: ['staging', 'TEMPORAL_PROFILE'],
  },
];

async function meet(one: Case, ...more: readonly string[]): Promise<{ ended: Ended; before: readonly string[]; after: readonly string[] }> {
  const home = join(folder, randomUUID());
  await mkdir(home);
  await one.prepare?.(home);
  const { source = 'x.ckpt', target = 'published/weights.safetensors' } = one;
  const stages = [{ type: 'source.local', path: source }, { type: 'loader.weights_only' }, { type: 'sink.publish', uri: target }];
  await writeFile(join(home, 'pipeline.yaml'), one.document ?? JSON.stringify({ name: 'bad', stages }, null, 2));
  const before = await contents(home);
  const env = {
    TEMPORAL_ADDRESS: environment.address,
    CKPT_WORKSPACE: join(folder, 'workspace'),
    XDG_STATE_HOME: join(folder, 'state'),
    ...(await one.env?.()),
  };
  const ended = await ckpt(['run', 'pipeline.yaml', '--worker', ...more], { cwd: home, env }).ended;
  return { ended, before, after: await contents(home) };
}

async function contents(home: string): Promise<readonly string[]> {
  return (await readdir(home, { recursive: true })).sort();
}

describe.each([
  ['files', FILES],
  ['documents and servers', DOCUMENTS],
])('%s', (_name, cases) => {
  test.each(cases.map((one) => [one.name, one] as const))(
    '%s',
    async (_label, one) => {
      const [text, json] = await Promise.all([meet(one), meet(one, '--json')]);

      expect(text.ended.code).toBe(one.code);
      const said = text.ended.stdout + text.ended.stderr;
      expect(said.split('\n').length).toBeLessThanOrEqual(SCREEN_LINES);
      expect(said).not.toMatch(/^\s+at .*[:(]\d+/m);
      expect(said).not.toMatch(/node:internal|\[object Object\]|undefined|ActivityFailure|WorkflowFailedError/);
      expect(text.ended.stderr).toContain(`${one.type}: `);

      expect(json.ended.code).toBe(one.code);
      const { error } = JSON.parse(json.ended.stdout) as { readonly error: ErrorReport };
      expect(Object.keys(error).sort()).toEqual(['details', 'message', 'type']);
      expect(error.type).toBe(one.type);
      if (one.details !== undefined) expect(error.details).toMatchObject(one.details);
      for (const words of one.says) {
        if (typeof words === 'string') expect(error.message).toContain(words);
        else expect(error.message).toMatch(words);
      }

      for (const { before, after } of [text, json]) expect(after).toEqual(before);
    },
    LONG,
  );
});

test('a command that is wrong: exit 2, and `--json` keeps its shape', async () => {
  const where = { cwd: folder, env: {} };
  expect((await ckpt(['run'], where).ended).code).toBe(2);
  expect((await ckpt(['inspect', 'x', '--josn'], where).ended).code).toBe(2);
  const missing = await ckpt(['run', 'no-such.yaml', '--json'], where).ended;
  expect(missing.code).toBe(2);
  expect(JSON.parse(missing.stdout)).toMatchObject({
    error: { type: 'CheckpointConfigError', message: expect.stringContaining('no-such.yaml'), details: {} },
  });
});
