/** What torch says of a loader's output: it goes into the target module strictly, each tensor with the values it should have. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { JsonObject } from '../../src/errors.ts';
import type { Format } from '../../src/model/header.ts';
import type { Plan } from '../../src/model/plan.ts';
import { loadWeights } from '../../src/transform/load.ts';
import { targetOfHeader } from '../../src/transform/target.ts';
import { RULES } from '../support/load-rules.ts';
import { PROJECT_ROOT } from '../support/project.ts';
import { headerOf, publishFile } from '../support/publish.ts';

interface Answer {
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly whose: Readonly<Record<string, string>>;
  readonly order: readonly string[];
}

let folder: string;

async function asked<T>(script: string, question: string, ...args: readonly string[]): Promise<T> {
  const python = process.env['ORACLE_PYTHON'];
  if (python === undefined) throw new Error('ORACLE_PYTHON is not set: run `npm run test:oracle`');
  const { stdout } = await promisify(execFile)(python, [join(PROJECT_ROOT, 'test', 'oracle', script), question, ...args], {
    maxBuffer: 2 ** 28,
    cwd: folder,
  });
  return JSON.parse(stdout) as T;
}

const ask = (question: string, ...args: readonly string[]): Promise<Answer> => asked('loaders.py', question, ...args);

async function publish(plan: Plan, name: string, format: Format = 'safetensors'): Promise<string> {
  const path = join(folder, name);
  await publishFile(plan, path, { format, trainingState: true });
  return path;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-oracle-loaders-'));
  await ask('save', folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('transfer learning: complete, strict, what fits from the source and the rest from the target', async () => {
  const target = targetOfHeader(await headerOf(join(folder, 'target.pt')), 'target.pt');
  const { plan } = loadWeights(await headerOf(join(folder, 'source.ckpt')), target, { ...RULES, skipMismatched: true, fill: 'target' });
  const { missing, unexpected, whose, order } = await ask('check', folder, await publish(plan, 'transfer.safetensors'), '12');
  expect([missing, unexpected]).toEqual([[], []]);
  expect(plan.tensors.map(({ name }) => name)).toEqual(order);
  expect(Object.fromEntries(Object.entries(whose).filter(([, from]) => from === 'target'))).toEqual(
    Object.fromEntries(
      ['0.weight', '0.bias', '1.weight', '1.bias', '1.running_mean', '1.running_var', '2.weight'].map((name) => [name, 'target']),
    ),
  );
  expect(Object.values(whose)).not.toContain('neither');
});

test('cold start: strict, all values from the source', async () => {
  const header = await headerOf(join(folder, 'source.ckpt'));
  const { plan } = loadWeights(header, targetOfHeader(header, 'source.ckpt'), { ...RULES, strict: true });
  const { missing, unexpected, whose } = await ask('check', folder, await publish(plan, 'cold.safetensors'), '8');
  expect([missing, unexpected]).toEqual([[], []]);
  expect(new Set(Object.values(whose))).toEqual(new Set(['source']));
});

describe('from a training by Lightning', () => {
  let trained: string;
  beforeAll(async () => {
    trained = (await asked<{ path: string }>('oracle.py', 'lightning_train', folder)).path;
  });

  test('warm start: judged strictly by a target, and the training goes on as from the original', async () => {
    const header = await headerOf(trained);
    const target = targetOfHeader(header, trained);
    const { plan } = loadWeights(header, target, { ...RULES, strict: true, keepTrainingState: true });
    const path = await publish(plan, 'warm.ckpt', 'lightning');
    const [ours, theirs] = [
      await asked<JsonObject>('oracle.py', 'lightning_resume', join(folder, 'ours'), path),
      await asked<JsonObject>('oracle.py', 'lightning_resume', join(folder, 'theirs'), trained),
    ];
    expect(ours).toEqual(theirs);
    expect(ours).toMatchObject({ first: [3, 12, expect.any(Number)], epoch: 6, global_step: 24 });
  });

  test('cold start: equal weights and nothing else, and a new training begins at epoch 0 and step 0', async () => {
    const header = await headerOf(trained);
    const { plan } = loadWeights(header, targetOfHeader(header, trained), { ...RULES, strict: true });
    const path = await publish(plan, 'cold.pt', 'pytorch');
    const begun = await asked<JsonObject>('oracle.py', 'lightning_begin', join(folder, 'begun'), path);
    expect(begun).toMatchObject({ keys: ['model_state_dict'], missing: [], unexpected: [], first: [0, 0, 0.01], global_step: 4 });
    expect(begun['weights']).toEqual(await asked('oracle.py', 'weights', trained));
  });
});
