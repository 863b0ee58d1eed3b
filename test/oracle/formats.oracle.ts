/**
 * What the reference libraries say of our files, and we of theirs.
 *
 * Every output is written by the publisher itself; Python answers in test/oracle/oracle.py. The seed of the random files is
 * printed, so that a finding can be had again.
 */
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { digestTensors } from '../../src/io/digests/digest-tensors.ts';
import { openPinned } from '../../src/io/local/local-file.ts';
import { DTYPES, type Dtype } from '../../src/model/dtype.ts';
import type { Format } from '../../src/model/header.ts';
import type { LeftOut, Plan, PlannedTensor } from '../../src/model/plan.ts';
import { keepTrainingState } from '../../src/transform/keep-training-state.ts';
import { selectWeights } from '../../src/transform/select-weights.ts';
import { EXPECTED, fixture, PROJECT_ROOT } from '../support/project.ts';
import { headerOf, publishFile } from '../support/publish.ts';

interface Described {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}
type Tensors = Readonly<Record<string, Described>>;
type Saved = Readonly<Record<string, { readonly weights: Tensors; readonly others: Tensors }>>;

const FILES = [
  'module.pt',
  'dtypes.pt',
  'views.pt',
  'tied.pt',
  'training.pt',
  'values.pt',
  'legacy_module.pt',
  'legacy_views.pt',
  'legacy_training.pt',
  'dtypes.safetensors',
] as const;
const TORCH_FORMATS = ['pytorch', 'lightning', 'state_dict'] as const;
const SEED = Number(process.env['ORACLE_SEED'] ?? randomInt(2 ** 31));

let folder: string;
let saved: Saved;

async function ask<Answer>(question: string, ...args: readonly string[]): Promise<Answer> {
  const python = process.env['ORACLE_PYTHON'];
  if (python === undefined) throw new Error('ORACLE_PYTHON is not set: run `npm run test:oracle`');
  const script = join(PROJECT_ROOT, 'test', 'oracle', 'oracle.py');
  const { stdout } = await promisify(execFile)(python, [script, question, ...args], { maxBuffer: 2 ** 28, cwd: folder });
  return JSON.parse(stdout) as Answer;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-oracle-'));
  process.stderr.write(`oracle: ORACLE_SEED=${SEED}, ${JSON.stringify(await ask('versions'))}\n`);
  saved = await ask<Saved>('save', folder, String(SEED));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function planOf(path: string): Promise<Plan> {
  const header = await headerOf(path);
  return keepTrainingState(header, selectWeights(header, { skipUnsupported: true }));
}

/** Publishes a plan to a file of its own; gives its path and what was left out. */
async function publish(plan: Plan, format: Format, name: string): Promise<{ readonly path: string; readonly dropped: readonly LeftOut[] }> {
  await mkdir(join(folder, 'ours'), { recursive: true });
  const path = join(folder, 'ours', `${name}.${format}${format === 'safetensors' ? '.safetensors' : '.pt'}`);
  const dropped = await publishFile(plan, path, { format, trainingState: true });
  return { path, dropped };
}

async function describeTensors(plan: Plan, tensors: readonly PlannedTensor[]): Promise<Tensors> {
  const digests = await digestTensors({ tensors, plan, open: openPinned, signal: new AbortController().signal });
  return Object.fromEntries(tensors.map(({ name, dtype, shape }, index) => [name, { dtype, shape, sha256: digests[index]! }]));
}

describe('our digests of what torch saves here and now', () => {
  test.each(FILES)('%s', async (name) => {
    const plan = await planOf(join(folder, name));
    const { weights, others } = saved[name]!;
    expect(await describeTensors(plan, plan.tensors)).toEqual(weights);
    const state = await describeTensors(plan, plan.stateTensors ?? []);
    // torch finds a tensor under each of its paths, we plan it under the first.
    for (const [path, described] of Object.entries(state)) expect({ path, ...described }).toEqual({ path, ...others[path] });
    if (name.includes('training')) expect(Object.keys(state).length).toBeGreaterThan(10);
  });
});

interface Checked {
  readonly weights?: Tensors;
  readonly ways?: number;
  readonly shared?: readonly (readonly string[])[];
  readonly error?: string;
}

/** Publishes each plan and asks about all files at once: starting torch takes longer than all it does here. */
async function checkAll(plans: readonly (readonly [name: string, plan: Plan])[], format: Format): Promise<ReadonlyMap<string, Checked>> {
  const paths = [];
  for (const [name, plan] of plans) paths.push((await publish(plan, format, name.replaceAll('/', '-'))).path);
  const answers = await ask<readonly Checked[]>('check_all', ...paths);
  return new Map(plans.map(([name], index) => [name, answers[index]!]));
}

describe.each(TORCH_FORMATS)('torch loads our %s: weights_only, mapped, with computed offsets; testzip finds nothing', (format) => {
  let checked: ReadonlyMap<string, Checked>;
  beforeAll(async () => {
    checked = await checkAll(await Promise.all(FILES.map(async (name) => [name, await planOf(join(folder, name))] as const)), format);
  });
  test.each(FILES)('%s', (name) => expect(checked.get(name)).toMatchObject({ weights: saved[name]!.weights, ways: 5 }));
  test('ties stay tied', () => expect(checked.get('tied.pt')).toMatchObject({ shared: [['a', 'b', 'turned', 'flat']] }));
});

describe('safetensors loads ours', () => {
  let checked: ReadonlyMap<string, Checked>;
  beforeAll(async () => {
    const plans = FILES.map(async (name) => [name, withSafetensorsForm(await planOf(join(folder, name)))] as const);
    checked = await checkAll(await Promise.all(plans), 'safetensors');
  });
  test.each(FILES)('%s', (name) => {
    const wanted = Object.entries(saved[name]!.weights).filter(([, { dtype }]) => DTYPES[dtype as Dtype].safetensors);
    expect(checked.get(name)).toEqual({ weights: Object.fromEntries(wanted), ways: 2 });
  });
});

function withSafetensorsForm(plan: Plan): Plan {
  return { ...plan, tensors: plan.tensors.filter(({ dtype }) => DTYPES[dtype].safetensors) };
}

test('every value that weights_only takes comes back as it was', async () => {
  const { path, dropped } = await publish(await planOf(join(folder, 'values.pt')), 'pytorch', 'values-again');
  expect(dropped.map(({ what, reason }) => `${what}: ${reason}`)).toEqual([]);
  expect(await ask('compare', path, join(folder, 'values.pt'))).toEqual([]);
});

test.each(['training.pt', 'legacy_training.pt'])('optimizers and schedulers of %s come back as they were', async (name) => {
  const { path, dropped } = await publish(await planOf(join(folder, name)), 'pytorch', `${name}-again`);
  expect(dropped).toEqual([]);
  // The weights stand first in ours; all else is equal.
  expect(((await ask('compare', path, join(folder, name))) as string[]).filter((line) => !line.startsWith(': keys'))).toEqual([]);
});

test('four-bit floats are what safetensors makes of them, and torch finds its own again', async () => {
  await ask('float4', folder);
  const ours = await publish(await planOf(join(folder, 'float4.pt')), 'safetensors', 'float4');
  const theirs = join(folder, 'float4.safetensors');
  expect((await readFile(ours.path)).equals(await readFile(theirs))).toBe(true);
  const back = await publish(await planOf(theirs), 'state_dict', 'float4-back');
  expect(await ask('compare', back.path, join(folder, 'float4.pt'))).toEqual([]);
});

test('a module takes our state dict, versions of its parts included', async () => {
  const { path } = await publish(await planOf(join(folder, 'module.pt')), 'state_dict', 'strict');
  expect(await ask('strict', path)).toEqual({ missing: [], unexpected: [], versions: 2, equal: true });
});

const fixtures = Object.entries(EXPECTED.good).filter(
  ([, { container, tensors }]) => ['zip', 'legacy', 'safetensors'].includes(container) && Object.keys(tensors).length > 0,
);
const readable = fixtures.filter(([, { may_refuse }]) => may_refuse !== true);

describe('torch loads every fixture as we publish it', () => {
  let checked: ReadonlyMap<string, Checked>;
  beforeAll(async () => {
    checked = await checkAll(await Promise.all(readable.map(async ([path]) => [path, await planOf(fixture(path))] as const)), 'lightning');
  });
  test('and of those that need not be read the ones that are', async () => {
    const rest = fixtures.filter(([, { may_refuse }]) => may_refuse === true);
    const plans = await Promise.all(rest.map(async ([path]) => [path, await planOf(fixture(path)).catch(() => null)] as const));
    const read = plans.flatMap(([path, plan]) => (plan === null ? [] : [[path, plan] as const]));
    expect(read.map(([path]) => path)).toContain('good/dtypes_exotic.pt');
    for (const [path, answer] of await checkAll(read, 'state_dict')) {
      const wanted = Object.entries(EXPECTED.good[path]!.tensors).filter(([, { unsupported }]) => unsupported === undefined);
      expect({ path, ...answer }).toMatchObject({ path, weights: Object.fromEntries(wanted) });
    }
  });
  test.each(readable)('%s', (path, { tensors }) => {
    const wanted = Object.fromEntries(Object.entries(tensors).filter(([, { unsupported }]) => unsupported === undefined));
    expect(checked.get(path)).toMatchObject({ weights: wanted, ways: 5 });
  });
});

describe('Lightning', () => {
  test('resumes from ours as from the original, and ends with the same weights', async () => {
    const trained = await ask<{ path: string; epoch: number; global_step: number }>('lightning_train', folder);
    const { path, dropped } = await publish(await planOf(trained.path), 'lightning', 'resumed');
    expect(dropped).toEqual([]);
    expect(await ask('compare', path, trained.path)).toEqual([]);
    const theirs = await ask<Record<string, unknown>>('lightning_resume', join(folder, 'from-theirs'), trained.path);
    const ours = await ask<Record<string, unknown>>('lightning_resume', join(folder, 'from-ours'), path);
    expect(ours).toEqual(theirs);
    expect(ours).toMatchObject({
      first: [3, 12, expect.any(Number)],
      epoch: 6,
      global_step: 24,
      steps: 12,
      hyper_parameters: { width: 8, rate: 0.01 },
    });
  });
});

test('70,000 tensors: more members than a classic archive holds', async () => {
  const count = 70_000;
  const tensors = Array.from({ length: count }, (_, index): PlannedTensor => {
    const origin = { dtype: 'U8', shape: [1], storage: 0, offset: index % 48 } as const;
    return { name: `layer.${index}.weight`, dtype: 'U8', shape: [1], origin: { ...origin, storage: index } };
  });
  const source = await planOf(fixture('good/plain.safetensors'));
  const place = source.storages.find(({ length }) => length >= 48)!;
  const plan: Plan = { ...source, tensors, storages: tensors.map(() => place) };
  const { path } = await publish(plan, 'state_dict', 'many');
  const digests = await digestTensors({ tensors: tensors.slice(0, 48), plan, open: openPinned, signal: new AbortController().signal });
  expect(new Set(digests).size).toBeGreaterThan(1);
  expect(await ask('many', path, String(count))).toMatchObject({ tensors: count, expected: count });
});
