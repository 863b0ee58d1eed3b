/** TorchScript archives as torch writes them here and now: the names, values and order of `torch.jit.load(…).state_dict()`, and nothing lost. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { digestTensors } from '../../src/io/digests/digest-tensors.ts';
import { openPinned } from '../../src/io/local/local-file.ts';
import { selectWeights } from '../../src/transform/select-weights.ts';
import { PROJECT_ROOT } from '../support/project.ts';
import { headerOf } from '../support/publish.ts';

type StateDict = readonly (readonly [
  name: string,
  described: { readonly dtype: string; readonly shape: readonly number[]; readonly sha256: string },
])[];

async function stateDictOf(path: string): Promise<StateDict> {
  const plan = selectWeights(await headerOf(path), { skipUnsupported: false });
  const digests = await digestTensors({ tensors: plan.tensors, plan, open: openPinned, signal: new AbortController().signal });
  return plan.tensors.map(({ name, dtype, shape }, index) => [name, { dtype, shape, sha256: digests[index]! }]);
}

test('scripted, traced, frozen, quantised and lite modules, and each saved again', async () => {
  const python = process.env['ORACLE_PYTHON'];
  if (python === undefined) throw new Error('ORACLE_PYTHON is not set: run `npm run test:oracle`');
  const folder = await mkdtemp(join(tmpdir(), 'ckpt-oracle-scripts-'));
  try {
    const script = join(PROJECT_ROOT, 'test', 'oracle', 'torchscript.py');
    const { stdout } = await promisify(execFile)(python, [script, folder], { maxBuffer: 2 ** 26 });
    const theirs = JSON.parse(stdout) as Readonly<Record<string, StateDict>>;
    expect(Object.keys(theirs).length).toBeGreaterThan(20);
    const ours: Record<string, StateDict> = {};
    for (const path of Object.keys(theirs)) ours[path] = await stateDictOf(join(folder, path));
    expect(ours).toEqual(theirs);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
