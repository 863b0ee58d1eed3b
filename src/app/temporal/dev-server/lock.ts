/** One process at a time starts or stops the server of a folder. */
import { randomUUID } from 'node:crypto';
import { link, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processMark } from '../process-mark.ts';
import { rejectUnwritable } from './state-folder.ts';

/** A lock whose process is gone is taken over. */
export async function locked<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const lock = join(folder, 'lock');
  const mine = join(folder, `lock.${process.pid}.${randomUUID()}`);
  try {
    // Made aside and linked, so that a lock always says whose it is.
    await writeFile(mine, `${process.pid} ${processMark(process.pid)}`).catch(rejectUnwritable(folder));
    while (!(await link(mine, lock).then(yes, no))) {
      const holder = await readFile(lock, 'utf8').catch(() => null);
      if (holder !== null && !holds(holder)) await breakLock(lock, `${mine}.broken`, holder);
      else await sleep(50);
    }
    try {
      return await work();
    } finally {
      await rm(lock, { force: true });
    }
  } finally {
    await rm(mine, { force: true });
  }
}

/** What processes that were killed have made aside. */
export async function removeDeadLocks(folder: string): Promise<void> {
  const asides = (await readdir(folder)).filter((name) => name.startsWith('lock.'));
  await Promise.all(
    asides.flatMap((name) => (processMark(Number(name.split('.')[1])) === null ? [rm(join(folder, name), { force: true })] : [])),
  );
}

/** Of several that see the same dead lock one moves it away; what turns out to be a newer one is put back. */
async function breakLock(lock: string, aside: string, holder: string): Promise<void> {
  if (!(await rename(lock, aside).then(yes, no))) return;
  if ((await readFile(aside, 'utf8')) !== holder) await link(aside, lock).catch(() => undefined);
  await rm(aside, { force: true });
}

function holds(holder: string): boolean {
  const [pid = '', ...mark] = holder.split(' ');
  return processMark(Number(pid)) === mark.join(' ');
}

const yes = (): boolean => true;
const no = (): boolean => false;
