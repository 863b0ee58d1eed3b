/** What a worker or a command needs of this machine: Node, and folders that can be written and have room. */
import { access, constants, mkdtemp, rmdir, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { textOf } from '../../errors.ts';
import { formatBytes } from '../../model/text.ts';
import { fine, problem, warning, type Finding } from './finding.ts';

/** As `engines` in package.json; a test compares. */
export const LEAST_NODE = [20, 19] as const;
/** Less than this is little for what a run puts aside. */
const LITTLE_ROOM = 2 ** 30;
/** And less than this does not do. */
const LEAST_ROOM = 64 * 2 ** 20;

export function nodeFinding(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [least, leastMinor] = LEAST_NODE;
  if (major > least || (major === least && minor >= leastMinor)) return fine('node', `Node ${version}`);
  return problem('node', `Node ${version} is older than ${LEAST_NODE.join('.')}`, 'Install Node 24, or at least 20.19.');
}

export async function folderFinding(check: string, folder: string): Promise<Finding> {
  const advice = `Make it writable for this user, or name another folder (XDG_STATE_HOME, XDG_CACHE_HOME, CKPT_WORKSPACE).`;
  try {
    const there = await nearestFolder(folder);
    await access(there, constants.W_OK | constants.X_OK);
    // Permissions do not tell of a disk that is mounted read-only, or full.
    await rmdir(await mkdtemp(join(there, '.ckpt-doctor-')));
    const { bavail, bsize } = await statfs(there);
    const free = bavail * bsize;
    const message = `${folder}: ${formatBytes(free)} free`;
    if (free < LEAST_ROOM) return problem(check, message, 'Free some space, or name another folder.');
    return free < LITTLE_ROOM ? warning(check, message, 'Free some space, or name another folder.') : fine(check, message);
  } catch (error) {
    return problem(check, `${folder} cannot be written: ${textOf(error)}`, advice);
  }
}

/** The folder, or the first one above it that is there. */
async function nearestFolder(folder: string): Promise<string> {
  for (let each = folder; ; each = dirname(each)) {
    const found = await stat(each).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    if (found?.isDirectory() === true) return each;
    if (found !== null) throw new Error(`${each} is not a folder`);
  }
}
