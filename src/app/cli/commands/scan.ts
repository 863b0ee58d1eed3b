/** `ckpt scan`: what the pickles of checkpoints name, and whether that is safe; exit 1 on anything but safe. */
import { resolve } from 'node:path';
import { CheckpointLoadError, isCheckpointError } from '../../../errors.ts';
import { readHeader } from '../../../formats/read-header.ts';
import { sarif } from '../../../formats/scan/sarif.ts';
import { scanFile, type FileScan } from '../../../formats/scan/scan.ts';
import { localUri, UNREADABLE } from '../../../io/local/local-file.ts';
import { filesBelow, type FileBelow } from '../../../io/locations/files-below.ts';
import { openSource } from '../../../io/locations/open.ts';
import { siblingsOf } from '../../../io/locations/siblings.ts';
import type { Storage } from '../../../io/storage/storage.ts';
import { isIndexName } from '../../../model/checkpoint-names.ts';
import { formatCount } from '../../../model/text.ts';
import { configuredStorage } from '../../storage.ts';
import { note, print, printJson, type OutputOptions } from '../output.ts';
import { callerFolder } from '../paths.ts';

export interface ScanCommandOptions extends OutputOptions {
  readonly sarif?: boolean;
}

/** Files of one folder argument. */
const FILES_MAX = 100_000;
/** Names by which people know a file that should be a checkpoint: such a file is reported whatever it holds. */
const CHECKPOINT_NAME = /\.(ckpt|pt|pth|bin|safetensors|pkl|pickle|distcp|joblib|dill|npz|npy|h5|7z|zip|tar|gz|bz2|xz|zst)$/i;
/** Findings of a file that is something else altogether: a README beside the weights, a report of ours. */
const NO_CHECKPOINT = new Set(['no_checkpoint', 'page', 'no_weight_map', 'no_json', 'empty']);

export async function scan(uris: readonly string[], options: ScanCommandOptions): Promise<void> {
  const isText = options.sarif !== true && options.json !== true;
  const files: FileScan[] = [];
  for (const uri of uris)
    for await (const file of scanArgument(uri.includes('://') ? uri : resolve(callerFolder(), uri))) {
      if (file.verdict !== 'safe') process.exitCode = 1;
      // People see each when it is known: of a prefix with thousands, the last comes much later.
      if (isText) print(linesOf(file));
      else files.push(file);
    }
  if (!isText) printJson(options.sarif === true ? sarif(files) : { files });
}

async function* scanArgument(uri: string): AsyncGenerator<FileScan> {
  const storage = await configuredStorage({ inputs: 'own' });
  const unlisted: FileScan[] = [];
  let below: readonly FileBelow[] | null;
  try {
    below = await filesBelow(uri, storage, FILES_MAX, (folder, error) => unlisted.push(notRead(localUri(folder), error)));
  } catch (error) {
    return yield notRead(uri, error);
  }
  if (below === null) return yield* await scanOne(uri, storage);
  yield* unlisted;
  const found = new Set<string>();
  const others: string[] = [];
  // Indexes first: the files they name are scanned with them.
  for (const file of below.toSorted((a, b) => Number(isIndex(b.key)) - Number(isIndex(a.key)))) {
    if (found.has(file.uri)) continue;
    for (const each of await scanOne(file.uri, storage)) {
      if (isNoCheckpoint(file.key, each)) others.push(file.key);
      else if (!found.has(each.uri)) {
        found.add(each.uri);
        yield each;
      }
    }
  }
  if (others.length > 0)
    note(
      `${uri}: ${formatCount(others.length, 'file')} no checkpoint, left out: ${others.slice(0, 5).join(', ')}${others.length > 5 ? ', …' : ''}`,
    );
  if (found.size === 0 && unlisted.length === 0)
    throw new CheckpointLoadError(`${uri} holds no checkpoint: none of its ${formatCount(below.length, 'file')} is one.`, uri);
}

async function scanOne(uri: string, storage: Storage): Promise<readonly FileScan[]> {
  try {
    const source = await openSource(uri, storage);
    try {
      const openSibling = siblingsOf(source.uri, (sibling) => openSource(sibling, storage));
      return await scanFile(source, { openSibling, check: readHeader });
    } finally {
      await source.close();
    }
  } catch (error) {
    return [notRead(uri, error)];
  }
}

/** What cannot be read has a verdict, too: a scan of many files goes on. A wrong URI is an error. */
function notRead(uri: string, error: unknown): FileScan {
  if (!isCheckpointError(error) || error.code === 'CheckpointConfigError') throw error;
  // Nothing is known of its content, but where it is none: a folder, say.
  const verdict = error.code === 'CheckpointLoadError' && error.details['reason'] !== UNREADABLE ? 'corrupt' : 'unread';
  return { uri, verdict, globals: [], findings: [{ code: 'not_read', message: error.message }] };
}

function isNoCheckpoint(name: string, { verdict, globals, findings }: FileScan): boolean {
  if (CHECKPOINT_NAME.test(name) || verdict !== 'corrupt' || globals.length > 0) return false;
  return findings.every(({ code }) => NO_CHECKPOINT.has(code));
}

function isIndex(name: string): boolean {
  return isIndexName(name) || /(^|[/\\])\.metadata$/.test(name);
}

function linesOf({ uri, verdict, globals, findings }: FileScan): readonly string[] {
  const rows = globals
    .filter((use) => use.verdict !== 'safe')
    .map((use) => `  ${use.verdict.padEnd(9)}  ${use.module}.${use.name}  (${use.member} at ${use.position})`);
  const shown = [...rows.slice(0, 50), ...(rows.length > 50 ? [`  … and ${rows.length - 50} more (--json has all)`] : [])];
  const safe = globals.length - rows.length;
  return [
    `${verdict.padEnd(9)}  ${uri}`,
    ...shown,
    ...findings.slice(0, 50).map(({ code, message, member }) => `  ${code}${member === undefined ? '' : ` (${member})`}: ${message}`),
    `  ${formatCount(safe, 'name')} on the table of harmless ones`,
  ];
}
