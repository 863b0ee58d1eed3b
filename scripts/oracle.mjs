/**
 * `npm run test:oracle`: a Python environment of its own with the reference libraries, then the oracle's tests.
 *
 * Where there is no Python, or pip reaches no package, it says so in one line, counts as one skipped, and succeeds. The
 * environment is kept in the user's cache folder, under a name made from the versions, so it is made once.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const REQUIREMENTS = join(ROOT, 'test', 'oracle', 'requirements.txt');
const RESULTS = join(ROOT, 'dist', 'oracle-results.json');
/** Below this, torch has no wheels. */
const PYTHON_LEAST = [3, 10];
/** What pip says when no registry answers, or none has the packages. */
const UNREACHABLE =
  /No matching distribution|Could not find a version|NewConnectionError|Network is unreachable|Name or service not known|Temporary failure|timed out|Connection refused|ProxyError|SSLError/i;

function skip(why) {
  console.log(`oracle skipped: ${why}`);
  mkdirSync(dirname(RESULTS), { recursive: true });
  writeFileSync(RESULTS, JSON.stringify({ numPassedTests: 0, numFailedTests: 0, numRuntimeErrorTestSuites: 0, numPendingTests: 1 }));
  process.exit(0);
}

function pythonOf() {
  for (const name of [process.env.ORACLE_PYTHON, 'python3', 'python'].filter(Boolean)) {
    const asked = spawnSync(name, ['-c', 'import sys, ensurepip; print(*sys.version_info[:2])'], { encoding: 'utf8' });
    const [major, minor] = (asked.stdout ?? '').trim().split(' ').map(Number);
    if (asked.status === 0 && major === PYTHON_LEAST[0] && minor >= PYTHON_LEAST[1]) return { name, version: `${major}.${minor}` };
  }
  return skip(`there is no Python from ${PYTHON_LEAST.join('.')} on with ensurepip`);
}

function environment() {
  const python = pythonOf();
  const key = createHash('sha256').update(readFileSync(REQUIREMENTS)).update(python.version).digest('hex').slice(0, 16);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const folder = join(cache, 'checkpoint-pipeline', `oracle-${key}`);
  if (!existsSync(join(folder, 'complete'))) {
    const fresh = `${folder}.${process.pid}`;
    let unreachable = null;
    console.log(`oracle: making its Python environment in ${folder} (some gigabytes, once) …`);
    try {
      run(python.name, ['-m', 'venv', fresh]);
      const made = spawnSync(
        join(fresh, 'bin', 'python'),
        ['-m', 'pip', 'install', '--quiet', '--no-input', '--retries', '2', '-r', REQUIREMENTS],
        {
          encoding: 'utf8',
          stdio: ['ignore', 'inherit', 'pipe'],
          maxBuffer: 2 ** 26,
        },
      );
      if (made.status !== 0 && !UNREACHABLE.test(made.stderr)) throw new Error(`pip failed:\n${made.stderr}`);
      if (made.status !== 0) unreachable = made.stderr.trim().split('\n').at(-1);
      else writeFileSync(join(fresh, 'complete'), '');
      // Another run may have been faster: one of the two stays.
      if (unreachable === null && !existsSync(join(folder, 'complete'))) {
        rmSync(folder, { recursive: true, force: true });
        renameSync(fresh, folder);
      }
    } finally {
      rmSync(fresh, { recursive: true, force: true });
    }
    if (unreachable !== null) skip(`pip reaches no package: ${unreachable}`);
  }
  return join(folder, 'bin', 'python');
}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', ...options });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}`);
}

rmSync(RESULTS, { force: true });
const python = environment();
const jest = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js')];
const { status } = spawnSync(
  process.execPath,
  [...jest, '--config', join(ROOT, 'test', 'oracle', 'jest.config.js'), '--json', '--outputFile', RESULTS, ...process.argv.slice(2)],
  { stdio: 'inherit', cwd: ROOT, env: { ...process.env, ORACLE_PYTHON: python } },
);
process.exit(status ?? 1);
