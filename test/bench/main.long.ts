/** `npm run bench -- --quick`, whole: every row is played on real parts, and says what it must. Figures are not judged. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Report } from '../../bench/report.ts';

const MAIN = fileURLToPath(new URL('../../bench/main.js', import.meta.url));
/** Against hangs only, in milliseconds: about twenty processes of a second each. */
const TIMEOUT = 300_000;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-bench-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function bench(...args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  const env = { ...process.env, BENCH_PYTHON: '', NODE_OPTIONS: '' };
  return promisify(execFile)(process.execPath, [MAIN, '--inputs', join(folder, 'inputs'), ...args], { env, cwd: folder, timeout: TIMEOUT });
}

test(
  'every row is measured beside its peer and judged by its budget, and nothing is left behind',
  async () => {
    const { stdout, stderr } = await bench('--quick', '--json', join(folder, 'results.json'));
    const report = JSON.parse(await readFile(join(folder, 'results.json'), 'utf8')) as Report;
    expect(report.quick).toBe(true);
    expect(report.machine.cores).toBeGreaterThan(0);
    expect([...new Set(report.rows.map(({ row }) => row))]).toEqual([
      'conversion',
      'inspect',
      'small',
      'many',
      'modifiers',
      'cast',
      'orchestration',
      'batch',
      'scan',
      'formats',
      's3',
      'http',
    ]);
    expect(report.leftOut).toEqual(['torch: left out; set BENCH_PYTHON to a Python that has torch and safetensors']);
    expect(stderr).toContain(report.leftOut[0]);
    for (const row of report.rows) {
      expect(row.ours.median).toBeGreaterThan(0);
      expect(row.ratio === null).toBe(row.peer === null || row.peer.sample.median === 0);
      expect(row.met === null).toBe(row.budget === null);
      expect(stdout).toContain(row.what);
    }
    const budgets = report.rows.filter(({ budget }) => budget !== null).map(({ row }) => row);
    expect([...new Set(budgets)]).toEqual([
      'conversion',
      'inspect',
      'small',
      'many',
      'modifiers',
      'cast',
      'orchestration',
      'batch',
      's3',
      'http',
    ]);
    const stages = report.rows.filter(({ what }) => what.startsWith('500 tensors, torch zip: ')).map(({ what }) => what.split(': ')[1]);
    expect(stages).toEqual(expect.arrayContaining(['source.local', 'loader.weights_only', 'sink.publish', 'all stages']));
    expect((await readdir(join(folder, 'inputs'))).filter((name) => name.startsWith('run-'))).toEqual([]);
  },
  TIMEOUT,
);

test(
  'a profile of a row says which functions of ours take the time',
  async () => {
    const { stdout } = await bench('--quick', '--profile', 'inspect', '--profiles', join(folder, 'profiles'));
    expect(stdout).toMatch(/^CPU\..*\.cpuprofile: \d+ ms busy, \d+ ms idle$/m);
    // Which of them a sample meets is chance in a run this short.
    expect(stdout).toMatch(/ \w+ {2}src\/[a-z/-]+\.js:\d+$/m);
    expect(await readdir(join(folder, 'profiles', 'inspect'))).toHaveLength(1);
  },
  TIMEOUT,
);

test('an unknown row is refused with the list of rows', async () => {
  await expect(bench('--only', 'conversoin')).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining(
      'no row conversoin; there are: conversion, inspect, small, many, modifiers, cast, orchestration, batch, scan, formats, s3, http, torch',
    ),
  });
});
