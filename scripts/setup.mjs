/**
 * Makes a clone ready: installs when the lock file has changed, builds when a source has. Runs before `npm start` and
 * `npm test`, so it needs nothing but Node and npm; says one line for what it does and nothing when all is up to date.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const INSTALL_STAMP = join(ROOT, 'node_modules', '.ckpt-install');
const BUILD_STAMP = join(ROOT, 'dist', '.build');
const LOOKS_STAMP = join(ROOT, 'dist', '.looks');
const LOCK = join(ROOT, '.setup-lock');
/** A lock this old (in milliseconds) was left by a process that is gone. */
const LOCK_STALE = 10 * 60 * 1000;

const INPUTS = ['tsconfig.json', ...['src', 'workflows', 'activities', 'test', 'bench', 'scripts'].flatMap(sources)];

// Names, sizes and times first: they are asked for in a moment, and as long as none has changed, neither has any content.
const looks = appearance(['package-lock.json', ...INPUTS]);
if (!(existsSync(INSTALL_STAMP) && stamp(LOOKS_STAMP) === looks)) await bringUpToDate();

async function bringUpToDate() {
  const installWanted = digest(['package-lock.json']);
  const buildWanted = installWanted + digest(INPUTS);
  const ready = () => stamp(INSTALL_STAMP) === installWanted && stamp(BUILD_STAMP) === buildWanted;
  if (!ready()) {
    await locked(() => {
      if (stamp(INSTALL_STAMP) !== installWanted) install(installWanted);
      if (stamp(BUILD_STAMP) !== buildWanted) build(buildWanted);
    });
  }
  if (ready()) writeFileSync(LOOKS_STAMP, looks);
}

function install(wanted) {
  say('installing packages …');
  const npm = process.env.npm_execpath;
  const [command, first] = npm === undefined ? ['npm', []] : [process.execPath, [npm]];
  // Not `npm ci`: it refuses a lock file without the optional binaries of other platforms.
  execute(
    command,
    [...first, 'install', '--no-save', '--loglevel=error'],
    'The packages could not be installed. Check the network and the npm settings, then try again.',
  );
  writeFileSync(INSTALL_STAMP, wanted);
}

function build(wanted) {
  say('building …');
  rmSync(join(ROOT, 'dist'), { recursive: true, force: true });
  execute(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', ROOT], 'The build failed.');
  execute(process.execPath, [join(ROOT, 'scripts/bundle-workflows.mjs')], 'The workflow bundle could not be made.');
  execute(process.execPath, [join(ROOT, 'scripts/bundle-report.mjs')], "The report's page could not be made.");
  execute(process.execPath, [join(ROOT, 'scripts/modules-digest.mjs')], "The modules' digest could not be made.");
  writeFileSync(BUILD_STAMP, wanted);
}

function execute(command, args, failure) {
  // Tools write to stderr: stdout belongs to the command that set-up runs for.
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: ['ignore', 2, 2], env: { ...process.env, NODE_OPTIONS: '' } });
  if (status === 0) return;
  say(failure + (error === undefined ? '' : ` (${error.message})`));
  rmSync(LOCK, { recursive: true, force: true });
  process.exit(1);
}

async function locked(work) {
  for (;;) {
    try {
      mkdirSync(LOCK);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      if (existsSync(LOCK) && Date.now() - statSync(LOCK).mtimeMs > LOCK_STALE) rmSync(LOCK, { recursive: true, force: true });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
  try {
    work();
  } finally {
    rmSync(LOCK, { recursive: true, force: true });
  }
}

function sources(folder) {
  // Fixtures are many and never compiled.
  if (folder === join('test', 'fixtures') || !existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? sources(join(folder, entry.name)) : [join(folder, entry.name)]))
    .filter((name) => /\.(ts|mjs)$|report.browser.\w+\.\w+$/.test(name))
    .sort();
}

function appearance(files) {
  const hash = createHash('sha256');
  for (const file of files) {
    const { size, mtimeMs, ino } = statSync(join(ROOT, file));
    hash.update(`${file}\0${size}\0${mtimeMs}\0${ino}\0`);
  }
  return hash.digest('hex');
}

function digest(files) {
  const hash = createHash('sha256');
  for (const file of files)
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(ROOT, file)))
      .update('\0');
  return hash.digest('hex');
}

function stamp(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : null;
}

function say(line) {
  process.stderr.write(`${line}\n`);
}
