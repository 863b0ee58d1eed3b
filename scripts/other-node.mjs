/**
 * Prints the path of a Node of that exact version, from the npm package `node`, kept in node_modules/.cache.
 *
 *   node scripts/other-node.mjs 24.21.0
 *
 * Exit 75 (a temporary failure, as sysexits.h has it) and a line on stderr where the registry does not give it.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NOT_HERE = 75;
const version = process.argv[2];
if (!/^\d+\.\d+\.\d+$/.test(version ?? '')) {
  process.stderr.write('usage: node scripts/other-node.mjs <exact version>\n');
  process.exit(2);
}

const folder = fileURLToPath(new URL(`../node_modules/.cache/node-${version}`, import.meta.url));
const program = join(folder, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');

if (!works()) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  // A package of its own, or npm would install into ours.
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const npm = process.env.npm_execpath;
  const [command, first] = npm === undefined ? ['npm', []] : [process.execPath, [npm]];
  const args = [...first, 'install', '--prefix', folder, '--no-save', '--no-audit', '--no-fund', '--loglevel=error', `node@${version}`];
  const { stderr, error } = spawnSync(command, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
  if (!works()) {
    const why = (error?.message ?? stderr ?? '').trim().split('\n')[0];
    process.stderr.write(`no Node ${version}: the npm package \`node\` could not be installed${why === '' ? '' : ` (${why})`}\n`);
    rmSync(folder, { recursive: true, force: true });
    process.exit(NOT_HERE);
  }
}
process.stdout.write(`${program}\n`);

function works() {
  return spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout?.trim() === `v${version}`;
}
