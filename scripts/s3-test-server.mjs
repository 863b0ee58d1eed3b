/**
 * Finds a real S3 server for the tests, and makes one where there is none: prints one line of JSON on stdout (`kind`, and `endpoint`
 * or `command`), and on stderr which one was taken and why the ones before it were not.
 *
 * In this order: the server at S3_TEST_ENDPOINT; `versitygw` on the PATH or in our cache; versitygw built from its Go module; moto's
 * server on the PATH or from a virtual environment in our cache. A fake in Node is not a choice: the ones seen lack If-Match, ListParts
 * and UploadPartCopy. Building takes minutes, once; a lock keeps test files that start together from building it twice.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

const VERSITYGW = '1.8.0';
const MOTO = '5.2.1';
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'checkpoint-pipeline');
/** A lock not touched for this long (in milliseconds) was left by a process that is gone; building touches nothing meanwhile. */
const LOCK_STALE = 20 * 60 * 1000;

const built = join(CACHE, `versitygw-${VERSITYGW}`, 'versitygw');
const moto = join(CACHE, `moto-${MOTO}`, 'bin', 'moto_server');

const server = ready() ?? (await locked(() => ready() ?? build() ?? installMoto()));
if (server === null) {
  say(
    'no S3 server for the tests: set S3_TEST_ENDPOINT (with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), put `versitygw` on the PATH, or install Go or Python.',
  );
  process.exit(1);
}
say(`tests use ${server.kind}: ${server.endpoint ?? server.command}`);
process.stdout.write(`${JSON.stringify(server)}\n`);

function ready() {
  const endpoint = process.env.S3_TEST_ENDPOINT;
  if (endpoint) return { kind: 'endpoint', endpoint };
  const found = onPath('versitygw') ?? (executable(built) ? built : null);
  if (found !== null) return { kind: 'versitygw', command: found };
  return executable(moto) ? { kind: 'moto', command: moto } : null;
}

function build() {
  const go = onPath('go');
  if (go === null) return miss('no `go` on the PATH to build versitygw with');
  say(`building versitygw ${VERSITYGW} from its Go module; this takes minutes, once …`);
  const aside = join(CACHE, `versitygw-${VERSITYGW}.${process.pid}`);
  mkdirSync(aside, { recursive: true });
  const { status, stderr } = spawnSync(go, ['install', `github.com/versity/versitygw/cmd/versitygw@v${VERSITYGW}`], {
    cwd: aside,
    env: { ...process.env, GOBIN: aside, GOFLAGS: '-buildvcs=false', CGO_ENABLED: '0' },
    encoding: 'utf8',
  });
  if (status !== 0) {
    rmSync(aside, { recursive: true, force: true });
    return miss(`versitygw could not be built: ${lastLine(stderr)}`);
  }
  rmSync(join(CACHE, `versitygw-${VERSITYGW}`), { recursive: true, force: true });
  renameSync(aside, join(CACHE, `versitygw-${VERSITYGW}`));
  return { kind: 'versitygw', command: built };
}

function installMoto() {
  const found = onPath('moto_server');
  if (found !== null && spawnSync(found, ['--help']).status === 0) return { kind: 'moto', command: found };
  say(`installing moto ${MOTO} into a virtual environment …`);
  const home = join(CACHE, `moto-${MOTO}`);
  for (const [command, ...args] of [
    ['python3', '-m', 'venv', home],
    [join(home, 'bin', 'python'), '-m', 'pip', 'install', '--quiet', `moto[s3,server]==${MOTO}`],
  ]) {
    const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
    if (status === 0) continue;
    rmSync(home, { recursive: true, force: true });
    return miss(`moto could not be installed: ${lastLine(stderr)}`);
  }
  return { kind: 'moto', command: moto };
}

async function locked(work) {
  const lock = join(CACHE, 's3-test-server.lock');
  mkdirSync(CACHE, { recursive: true });
  for (;;) {
    try {
      mkdirSync(lock);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const found = statSync(lock, { throwIfNoEntry: false });
      if (found !== undefined && Date.now() - found.mtimeMs > LOCK_STALE) rmSync(lock, { recursive: true, force: true });
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
  try {
    utimesSync(lock, new Date(), new Date());
    return work();
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

function onPath(name) {
  return (
    (process.env.PATH ?? '')
      .split(delimiter)
      .map((folder) => join(folder, name))
      .find(executable) ?? null
  );
}

function executable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function lastLine(text) {
  return text?.trim().split('\n').at(-1)?.slice(0, 300) ?? 'no output';
}

function miss(line) {
  say(line);
  return null;
}

function say(line) {
  process.stderr.write(`s3: ${line}\n`);
}
