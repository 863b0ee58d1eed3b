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

/** A worker holds some dozens of files and connections for each transfer. */
const FEW_FILES = 1024;
const LEAST_FILES = 128;

/** `limit`: files that this process may open at a time; null: nobody knows, or as many as it likes. */
export function filesFinding(limit: number | null): Finding | null {
  if (limit === null) return null;
  const message = `${limit} may be open at a time`;
  const advice = `Allow more: \`ulimit -n ${FEW_FILES}\`, \`LimitNOFILE=${FEW_FILES}\` of a service.`;
  if (limit < LEAST_FILES) return problem('files', message, advice);
  return limit < FEW_FILES ? warning('files', message, advice) : fine('files', message);
}

/** Of this process, as Node has it: Node takes as many as it may get. */
export function openFilesLimit(): number | null {
  // What else a report has is left out where that can be: names of peers, above all, which are asked for one by one.
  Object.assign(process.report, { excludeNetwork: true });
  const { userLimits } = process.report.getReport() as { readonly userLimits?: { readonly open_files?: { readonly soft?: unknown } } };
  const soft = userLimits?.open_files?.soft;
  return typeof soft === 'number' ? soft : null;
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
