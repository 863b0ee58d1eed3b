/** `ckpt scan`: what the pickles of checkpoints name, and whether that is safe; exit 1 on anything but safe. */
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { CheckpointLoadError, isCheckpointError } from '../../../errors.ts';
import { readHeader } from '../../../formats/read-header.ts';
import { sarif } from '../../../formats/scan/sarif.ts';
import { scanFile, type FileScan } from '../../../formats/scan/scan.ts';
import { windowed } from '../../../io/caching-source.ts';
import { localPath, localUri } from '../../../io/local-file.ts';
import { openSource } from '../../../io/open.ts';
import { siblingsOf } from '../../../io/siblings.ts';
import type { ByteSource } from '../../../model/byte-source.ts';
import { formatCount } from '../../../pipeline/text.ts';
import { note, printJson, type OutputOptions } from '../output.ts';
import { configuredStorage } from '../../storage.ts';
import { callerFolder } from '../paths.ts';

export interface ScanCommandOptions extends OutputOptions {
  readonly sarif?: boolean;
}

/** Files of one folder argument. */
const FILES_MAX = 100_000;
/** Names by which people know a file that should be a checkpoint: such a file is reported whatever it holds. */
const CHECKPOINT_NAME = /\.(ckpt|pt|pth|bin|safetensors|pkl|pickle|distcp|joblib|dill|npz|npy|h5|7z|zip|tar|gz|bz2|xz|zst)$/i;
/** Findings of a file that is something else altogether: a README beside the weights. */
const NO_CHECKPOINT = new Set(['no_checkpoint', 'no_weight_map', 'no_json', 'empty']);

export async function scan(uris: readonly string[], options: ScanCommandOptions): Promise<void> {
  const files: FileScan[] = [];
  for (const uri of uris) files.push(...(await scanArgument(uri.includes('://') ? uri : resolve(callerFolder(), uri))));
  if (options.sarif === true) printJson(sarif(files));
  else if (options.json === true) printJson({ files });
  else process.stdout.write(`${files.map(text).join('\n')}\n`);
  if (files.some(({ verdict }) => verdict !== 'safe')) process.exitCode = 1;
}

async function scanArgument(uri: string): Promise<readonly FileScan[]> {
  const storage = await configuredStorage({ inputs: 'own' });
  const path = uri.startsWith('file://') || !uri.includes('://') ? localPath(uri) : undefined;
  const isFolder = path !== undefined && (await stat(path).catch(() => undefined))?.isDirectory() === true;
  if (!isFolder) return scanOne(uri, () => openSource(uri, storage));
  const files = new Map<string, FileScan>();
  const others: string[] = [];
  // Indexes first: the files they name are scanned with them.
  const names = (await listFiles(path)).toSorted((a, b) => Number(isIndex(b)) - Number(isIndex(a)) || (a < b ? -1 : 1));
  for (const name of names) {
    const file = localUri(join(path, name));
    if (files.has(file)) continue;
    for (const each of await scanOne(file, () => openSource(file, storage))) {
      if (
        !CHECKPOINT_NAME.test(name) &&
        each.globals.length === 0 &&
        each.findings.every(({ code }) => NO_CHECKPOINT.has(code)) &&
        each.verdict === 'corrupt'
      )
        others.push(name);
      else files.set(each.uri, each);
    }
  }
  if (others.length > 0)
    note(
      `${path}: ${formatCount(others.length, 'file')} no checkpoint, left out: ${others.slice(0, 5).join(', ')}${others.length > 5 ? ', …' : ''}`,
    );
  if (files.size === 0)
    throw new CheckpointLoadError(`${path} holds no checkpoint: none of its ${formatCount(names.length, 'file')} is one.`, path);
  return [...files.values()];
}

/** What cannot be read has a verdict, too: a scan of many files goes on. A wrong URI is an error. */
async function scanOne(uri: string, open: () => Promise<ByteSource>): Promise<readonly FileScan[]> {
  try {
    // Of thousands of small members, many headers come with one read; and without their thousands of buffers.
    const source = windowed(await open());
    try {
      const openSibling = siblingsOf(source.uri, async (sibling) => windowed(await openSource(sibling)));
      return await scanFile(source, { openSibling, check: readHeader });
    } finally {
      await source.close();
    }
  } catch (error) {
    if (!isCheckpointError(error) || error.code === 'CheckpointConfigError') throw error;
    // Nothing is known of its content, but where it is none: a folder, say.
    const verdict = error.code === 'CheckpointLoadError' ? 'corrupt' : 'unread';
    return [{ uri, verdict, globals: [], findings: [{ code: 'not_read', message: error.message }] }];
  }
}

async function listFiles(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  if (entries.length > FILES_MAX)
    throw new CheckpointLoadError(`${folder} holds ${entries.length} files, at most ${FILES_MAX} are scanned.`, folder);
  // Links to files count: caches are made of them. Links to folders are not followed.
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

function isIndex(name: string): boolean {
  return name.endsWith('.index.json') || /(^|[/\\])\.metadata$/.test(name);
}

function text({ uri, verdict, globals, findings }: FileScan): string {
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
  ].join('\n');
}
