/**
 * `cast`, bit for bit what torch's `.to()` gives here and now, for every pair of float kinds: special values, random bits, all
 * values of the small kinds, ordinary weights, and views that are not contiguous, each published as a run does it.
 *
 * The bits of NaNs are those of torch on x86-64; elsewhere a NaN need only be one.
 */
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Dtype } from '../../src/model/dtype.ts';
import type { Header } from '../../src/model/header.ts';
import { castTensors } from '../../src/transform/cast-tensors.ts';
import { selectWeights } from '../../src/transform/select-weights.ts';
import { finish } from '../support/finish.ts';
import { PROJECT_ROOT } from '../support/project.ts';
import { headerOf, publishFile } from '../support/publish.ts';

const FLOATS: readonly Dtype[] = ['F64', 'F32', 'F16', 'BF16', 'F8_E4M3', 'F8_E5M2', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ', 'F8_E8M0'];
const SEED = Number(process.env['ORACLE_SEED'] ?? randomInt(2 ** 31));

let folder: string;
let header: Header;
let names: readonly string[];

async function ask<Answer>(question: string, ...args: readonly string[]): Promise<Answer> {
  const python = process.env['ORACLE_PYTHON'];
  if (python === undefined) throw new Error('ORACLE_PYTHON is not set: run `npm run test:oracle`');
  const { stdout } = await promisify(execFile)(python, [join(PROJECT_ROOT, 'test', 'oracle', 'casts.py'), question, ...args]);
  return JSON.parse(stdout) as Answer;
}

beforeAll(async () => {
  process.stderr.write(`casts: ORACLE_SEED=${SEED}\n`);
  folder = await mkdtemp(join(tmpdir(), 'ckpt-oracle-casts-'));
  names = await ask('save', folder, String(SEED));
  header = await headerOf(join(folder, 'floats.pt'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test.each(FLOATS)('all float kinds → %s', async (dtype) => {
  const { plan, left } = finish(castTensors, selectWeights(header, { skipUnsupported: false }), [{ names: '*', dtype }], 'stages[0]');
  expect(left).toBe(0);
  const path = join(folder, `${dtype}.safetensors`);
  await publishFile(plan, path, { format: 'safetensors', trainingState: false });
  const answer = await ask<{ differ: readonly string[]; nan_bits: boolean; names: number }>('check', folder, path, dtype);
  await rm(path);
  expect(answer).toEqual({ differ: [], nan_bits: process.arch === 'x64' ? true : expect.any(Boolean), names: names.length });
});
