/** What is known of the server of a folder: where it listens, and how far it has come. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '../../../io/local/atomic-file.ts';
import { isServer } from './server-process.ts';

export interface ServerRecord {
  readonly pid: number;
  readonly port: number;
  readonly uiPort: number;
  /** When the server was told to end, in milliseconds since the epoch. Ending takes about a second; only a command that starts a new server waits for it. */
  readonly endingSince?: number;
  /** It has not said yet that it is up; the mark of its process, as the command that waited for it may be gone. */
  readonly starting?: string;
}

/** The server of a record whose process lives and is to go on; null otherwise, a damaged record included. */
export async function runningServer(folder: string): Promise<ServerRecord | null> {
  const record = await readRecord(folder);
  if (record === null || record.endingSince !== undefined || record.starting !== undefined) return null;
  return (await isServer(record.pid)) ? record : null;
}

export async function readRecord(folder: string): Promise<ServerRecord | null> {
  const text = await readFile(recordIn(folder), 'utf8').catch(() => null);
  return text === null ? null : parseRecord(text);
}

export function writeRecord(folder: string, record: ServerRecord): Promise<void> {
  return writeAtomically(recordIn(folder), JSON.stringify(record));
}

function parseRecord(text: string): ServerRecord | null {
  try {
    const record = JSON.parse(text) as Partial<ServerRecord> | null;
    const whole = [record?.pid, record?.port, record?.uiPort].every(Number.isSafeInteger);
    return whole ? (record as ServerRecord) : null;
  } catch {
    return null;
  }
}

export async function forgetServer(folder: string): Promise<void> {
  await rm(recordIn(folder), { force: true });
}

function recordIn(folder: string): string {
  return join(folder, 'server.json');
}
