/**
 * A Python environment of its own for what a requirements file names, kept in the user's cache folder under a name made from the
 * versions, so that it is made once.
 *
 * As a program: `node scripts/python-environment.mjs NAME REQUIREMENTS` prints its interpreter; exit 75 and a reason on stderr where
 * there is no Python, or pip reaches no package.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NOT_HERE = 75;
const PYTHON_LEAST = [3, 10];
/** What pip says when no registry answers, or none has the packages. */
const UNREACHABLE =
  /No matching distribution|Could not find a version|NewConnectionError|Network is unreachable|Name or service not known|Temporary failure|timed out|Connection refused|ProxyError|SSLError/i;

/** The interpreter, or why there is none; throws where pip fails for another reason. */
export function pythonEnvironment(name, requirements) {
  const python = findPython();
  if (python === null) return { skipped: `there is no Python from ${PYTHON_LEAST.join('.')} on with ensurepip` };
  const key = createHash('sha256').update(readFileSync(requirements)).update(python.version).digest('hex').slice(0, 16);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const folder = join(cache, 'checkpoint-pipeline', `${name}-${key}`);
  if (!existsSync(join(folder, 'complete'))) {
    const fresh = `${folder}.${process.pid}`;
    process.stderr.write(`${name}: making its Python environment in ${folder}, once …\n`);
    try {
      const made = spawnSync(python.name, ['-m', 'venv', fresh], { encoding: 'utf8' });
      if (made.status !== 0) throw new Error(`no venv: ${made.stderr}`);
      const arguments_ = ['-m', 'pip', 'install', '--quiet', '--no-input', '--retries', '2', '-r', requirements];
      const pip = spawnSync(join(fresh, 'bin', 'python'), arguments_, {
        encoding: 'utf8',
        stdio: ['ignore', 2, 'pipe'],
        maxBuffer: 2 ** 26,
      });
      if (pip.status !== 0 && !UNREACHABLE.test(pip.stderr)) throw new Error(`pip failed:\n${pip.stderr}`);
      if (pip.status !== 0) return { skipped: `pip reaches no package: ${pip.stderr.trim().split('\n').at(-1)}` };
      writeFileSync(join(fresh, 'complete'), '');
      // Another run may have been faster: one of the two stays.
      if (!existsSync(join(folder, 'complete'))) {
        rmSync(folder, { recursive: true, force: true });
        renameSync(fresh, folder);
      }
    } finally {
      rmSync(fresh, { recursive: true, force: true });
    }
  }
  return { python: join(folder, 'bin', 'python') };
}

function findPython() {
  for (const name of [process.env.ORACLE_PYTHON, 'python3', 'python'].filter(Boolean)) {
    const asked = spawnSync(name, ['-c', 'import sys, ensurepip; print(*sys.version_info[:2])'], { encoding: 'utf8' });
    const [major, minor] = (asked.stdout ?? '').trim().split(' ').map(Number);
    if (asked.status === 0 && major === PYTHON_LEAST[0] && minor >= PYTHON_LEAST[1]) return { name, version: `${major}.${minor}` };
  }
  return null;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [name, requirements] = process.argv.slice(2);
  const { python, skipped } = pythonEnvironment(name, requirements);
  process[skipped === undefined ? 'stdout' : 'stderr'].write(`${python ?? skipped}\n`);
  process.exitCode = skipped === undefined ? 0 : NOT_HERE;
}
