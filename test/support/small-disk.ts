/** A command whose destination is a small file system of its own: a tmpfs in a mount namespace, gone with the command. */
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CLI, start, type Ended, type Place } from './cli.ts';

/** Whether this machine lets us: root, or user namespaces for everybody. */
export function smallDisks(): boolean {
  return process.platform === 'linux' && spawnSync('unshare', ['-Urm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0;
}

export interface SmallDisk {
  /** Folder that the file system is mounted on. */
  readonly disk: string;
  /** Mount options: `size=16m`. */
  readonly options: string;
  readonly args: readonly string[];
  readonly place: Place;
  /** Shell commands that run beside `ckpt`; `$DISK` is the folder. */
  readonly meanwhile?: string;
}

/** Runs `ckpt`; `left` is what lies on the disk afterwards. */
export async function inSmallDisk(job: SmallDisk): Promise<Ended & { readonly left: readonly string[] }> {
  const list = join(job.place.cwd, 'left-on-disk');
  const script = `
    mount -t tmpfs -o "$OPTIONS" tmpfs "$DISK" || exit 99
    { ${job.meanwhile ?? ':'}; } &
    "$@"
    code=$?
    wait
    ls -A "$DISK" > "$LIST"
    exit $code`;
  const env = { ...job.place.env, DISK: job.disk, OPTIONS: job.options, LIST: list };
  const command = ['unshare', '-Urm', 'sh', '-c', script, 'sh', process.execPath, CLI, ...job.args];
  const ended = await start(command, { ...job.place, env }).ended;
  const left = await readFile(list, 'utf8').catch(() => '');
  return { ...ended, left: left.split('\n').filter((name) => name !== '') };
}
