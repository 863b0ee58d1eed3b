/**
 * `npm run test:oracle`: a Python environment of its own with the reference libraries (5 GB), then the oracle's tests.
 *
 * Where there is no Python, or pip reaches no package, it says so in one line, counts as one skipped, and succeeds.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pythonEnvironment } from './python-environment.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const REQUIREMENTS = join(ROOT, 'test', 'oracle', 'requirements.txt');
const RESULTS = join(ROOT, 'dist', 'oracle-results.json');

function skip(why) {
  console.log(`oracle skipped: ${why}`);
  mkdirSync(dirname(RESULTS), { recursive: true });
  writeFileSync(RESULTS, JSON.stringify({ numPassedTests: 0, numFailedTests: 0, numRuntimeErrorTestSuites: 0, numPendingTests: 1 }));
  process.exit(0);
}

rmSync(RESULTS, { force: true });
const { python, skipped } = pythonEnvironment('oracle', REQUIREMENTS);
if (skipped !== undefined) skip(skipped);
const jest = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js')];
const { status } = spawnSync(
  process.execPath,
  [...jest, '--config', join(ROOT, 'test', 'oracle', 'jest.config.js'), '--json', '--outputFile', RESULTS, ...process.argv.slice(2)],
  { stdio: 'inherit', cwd: ROOT, env: { ...process.env, ORACLE_PYTHON: python } },
);
process.exit(status ?? 1);
