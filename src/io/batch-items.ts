/**
 * The items of a batch, one after another: from a folder, an S3 prefix, a manifest or a list.
 *
 * Invariant: in the same order whenever nothing has changed; what is held at a time is the names of one folder, a page of a store's
 * listing, or a block of a manifest.
 */
import type { Dirent } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { CsvError, parse } from 'csv-parse';
import { CheckpointConfigError, CheckpointNotFoundError, CheckpointSourceError, isCheckpointError } from '../errors.ts';
import { breakText, jsonBreak } from '../formats/json-break.ts';
import { sourceEndedBy, type ByteSource } from '../model/byte-source.ts';
import { isMapping } from '../model/json.ts';
import { isHttp, schemeOf } from '../model/scheme.ts';
import { itemOf, MOST_ITEM } from '../pipeline/batch-template.ts';
import type { BatchItem, BatchItems, Outcome } from '../pipeline/batch.ts';
import { compilePathGlob } from '../transform/patterns.ts';
import { refuseCredential } from './locations/credentials.ts';
import { blocksOf, linesOf } from './lines.ts';
import { FORBIDDEN, localPath } from './local/local-file.ts';
import { objectsIn, type FileBelow } from './locations/files-below.ts';
import { foldersOf } from './locations/folders-of-globs.ts';
import { isS3 } from './s3/location.ts';
import type { Storage } from './storage/storage.ts';

const CHECKPOINTS = '**/*.{ckpt,pt,pth,bin,safetensors}';
/** Characters of a row. */
const ROW_MOST = 2 ** 20;
/** Columns of a CSV manifest: every row is held with all of them, and an item has at most 16,384 characters of JSON. */
const COLUMNS_MOST = 2000;
/** Every disk has one at its top, which is root's alone. */
const NOBODYS = 'lost+found';
/** Names of one local folder: they are sorted, so they are held, a million of 35 characters in 66 MB. */
const NAMES_MOST = 2_000_000;

export interface ItemPlaces {
  readonly storage: Storage;
  /** A file of the workspace; null where the URI is of another place. */
  readonly own: (uri: string) => Promise<ByteSource | null>;
  /** Ends the listing, also where nothing is found. */
  readonly signal: AbortSignal;
}

export async function* listItems(items: BatchItems, places: ItemPlaces): AsyncGenerator<BatchItem> {
  if (isList(items)) {
    for (const [index, given] of items.entries()) {
      const place = `items[${index}]`;
      const item = itemOf(given, place);
      refuseCredentials(item, place, place);
      yield item;
    }
  } else if ('manifest' in items) yield* rowsOf(items.manifest, places);
  else if ('failed_in' in items) yield* failedIn(items.failed_in, places);
  else {
    const globs = [items.glob ?? CHECKPOINTS].flat();
    const fits = pathGlob(globs);
    const { storage, signal } = places;
    for await (const { uri, key } of isS3(items.uri) ? objectsIn(items.uri, storage, signal) : files(items.uri, { globs, fits, ...places }))
      if (fits(key)) yield { uri, key, columns: {} };
  }
}

async function* failedIn(results: string, { own, storage, signal }: ItemPlaces): AsyncGenerator<BatchItem> {
  const source = sourceEndedBy(signal, (await own(results)) ?? (await storage.open(results, signal)));
  try {
    for await (const { line, number } of linesOf(source)) {
      signal.throwIfAborted();
      const item = failedItem(line, `${results}, line ${number}`);
      if (item !== null) yield item;
    }
  } finally {
    await source.close();
  }
}

/** Null for an item that needs no other run. A line is as anybody may have written it, and what it says stays in histories. */
function failedItem(line: string, place: string): BatchItem | null {
  const field = 'items.failed_in';
  const bad = (what: string): CheckpointConfigError =>
    new CheckpointConfigError(`${place}: ${what}. Expected a line of a batch's results, as its batch has written it.`, field);
  const row = jsonOf(line, place, field);
  if (!isMapping(row)) throw bad('it is not an object');
  const { item: key, uri, columns, status, destination_of: other } = row as { readonly [name in keyof Outcome]?: unknown };
  if (status === 'completed' || status === 'unchanged') return null;
  if (status !== 'failed' && status !== 'cancelled' && status !== 'not_started')
    throw bad('its `status` is none of completed, unchanged, failed, cancelled, not_started');
  if (typeof key !== 'string' || key === '') throw bad('its `item` is not a name');
  if (!isMapping(columns)) throw bad('its `columns` are not an object');
  // The other one is perhaps not among those that failed.
  if (other !== undefined && (typeof other !== 'string' || other.length > MOST_ITEM))
    throw bad('its `destination_of` is not a name of an item');
  const item = itemOf({ ...columns, uri, key }, place);
  refuseCredentials(item, place, field);
  return other === undefined ? item : { ...item, destination_of: other };
}

async function* files(
  uri: string,
  { globs, fits, storage, signal }: Pick<ItemPlaces, 'storage' | 'signal'> & Pick<Walk, 'fits'> & { readonly globs: readonly string[] },
): AsyncGenerator<FileBelow> {
  const root = localPath(uri);
  await storage.fence.checkPath(root);
  const found = await stat(root).catch((cause: unknown) => {
    throw new CheckpointNotFoundError(`There is no folder ${root}.`, root, { cause });
  });
  if (!found.isDirectory())
    throw new CheckpointConfigError(`${root} is not a folder. A list of files is a \`manifest\`, or a list.`, 'items.uri');
  yield* filesIn(root, { reaches: foldersOf(globs), fits, signal });
}

interface Walk {
  /** Whether a folder is looked into, by its path with a slash at the end. */
  readonly reaches: (path: string) => boolean;
  /** Whether a file is wanted, by its path. */
  readonly fits: (path: string) => boolean;
  readonly most?: number;
  readonly signal?: AbortSignal;
}

/** Hidden files and links to folders are left out: the former are nobody's checkpoints, the latter may lead in circles. */
export async function* filesIn(folder: string, walk: Walk, prefix = ''): AsyncGenerator<FileBelow> {
  const { reaches, fits, most = NAMES_MOST, signal } = walk;
  // Names alone, a slash behind those of folders: a folder may hold a million files.
  const names: string[] = [];
  try {
    for await (const entry of await opendir(folder)) {
      signal?.throwIfAborted();
      if (entry.name.startsWith('.')) continue;
      const isWanted = entry.isDirectory() ? reaches(`${prefix}${entry.name}/`) : fits(`${prefix}${entry.name}`) && (await isItem(entry));
      if (!isWanted) continue;
      if (names.length === most) throw tooManyNames(folder, most);
      names.push(entry.isDirectory() ? `${entry.name}/` : entry.name);
    }
  } catch (cause) {
    signal?.throwIfAborted();
    if (isCheckpointError(cause)) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    if (!FORBIDDEN.includes(code ?? '')) throw new CheckpointSourceError(`${folder} cannot be listed: ${message}.`, folder, { cause });
    if (prefix !== '' && basename(folder) === NOBODYS) return;
    throw new CheckpointSourceError(
      `${folder} cannot be listed: ${message}. Let the worker's user read it (\`chmod\`), or choose a \`glob\` that does not lead there.`,
      folder,
      { cause, retryable: false },
    );
  }
  for (const name of names.sort()) {
    if (name.endsWith('/')) yield* filesIn(join(folder, name), walk, `${prefix}${name}`);
    else yield { uri: pathToFileURL(join(folder, name)).href, key: `${prefix}${name}` };
  }
}

/** A link that leads to nothing is one, too: its run says so. */
async function isItem(entry: Dirent): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isFile();
  const stats = await stat(join(entry.parentPath, entry.name)).catch(() => null);
  return stats?.isDirectory() !== true;
}

function tooManyNames(folder: string, most: number): CheckpointConfigError {
  return new CheckpointConfigError(
    `${folder} holds more than ${most} files and folders, and the names of a folder are held while it is listed. Spread the files over several folders, or name them in a \`manifest\`, which may be of any length.`,
    'items.uri',
    { details: { folder, most } },
  );
}

async function* rowsOf(manifest: string, { storage, signal }: ItemPlaces): AsyncGenerator<BatchItem> {
  const source = sourceEndedBy(signal, await storage.open(manifest, signal));
  try {
    const rows = /\.(jsonl|ndjson)$/i.test(manifest) ? jsonRows(source, manifest) : csvRows(source, manifest);
    for await (const { row, place } of rows) {
      const item = itemOf(row, place);
      refuseCredentials(item, place, 'items.manifest');
      yield /^[a-z][a-z0-9+.-]*:\/\//i.test(item.uri) || item.uri.startsWith('/') ? item : { ...item, uri: beside(manifest, item.uri) };
    }
  } finally {
    await source.close();
  }
}

/** What is relative lies beside the manifest. It is a name as it stands, of which nothing is an escape or begins a query. */
function beside(manifest: string, name: string): string {
  if (schemeOf(manifest) === 'file') return pathToFileURL(join(dirname(localPath(manifest)), name)).href;
  if (isHttp(manifest)) return new URL(name.split('/').map(encodeURIComponent).join('/'), manifest).href;
  return `${manifest.slice(0, manifest.lastIndexOf('/') + 1)}${name}`;
}

/** Pages of items, and what is made of them, stay in histories. */
function refuseCredentials({ uri, key, columns }: BatchItem, place: string, field: string): void {
  for (const [name, value] of Object.entries({ ...columns, uri, key })) {
    try {
      refuseCredential(value, field);
    } catch (error) {
      throw isCheckpointError(error) ? new CheckpointConfigError(`${place}, \`${name}\`: ${error.message}`, field) : error;
    }
  }
}

interface Row {
  readonly row: unknown;
  readonly place: string;
}

async function* jsonRows(source: ByteSource, manifest: string): AsyncGenerator<Row> {
  for await (const { line, number } of linesOf(source)) {
    const place = `${manifest}, line ${number}`;
    yield { row: jsonOf(line, place, 'items.manifest'), place };
  }
}

/** RFC 4180, with a line of column names; any line ends, and a mark of the byte order before it. */
async function* csvRows(source: ByteSource, manifest: string): AsyncGenerator<Row> {
  const columns = (names: readonly string[]): string[] => {
    if (names.length > COLUMNS_MOST)
      throw new CheckpointConfigError(
        `${manifest}: the first line names ${names.length} columns, at most ${COLUMNS_MOST}. Leave out columns that the template does not use.`,
        'items.manifest',
      );
    const known = new Set<string>();
    const twice = names.find((name) => known.size === known.add(name).size);
    if (twice !== undefined || !names.includes('uri'))
      throw new CheckpointConfigError(
        // Without that name they may be the values of a first row.
        names.includes('uri')
          ? `${manifest}: two columns are named \`${twice}\`.`
          : `${manifest}: the first line of a CSV manifest names its columns, one of them \`uri\`.`,
        'items.manifest',
      );
    return [...names];
  };
  const parser = parse({ bom: true, columns, info: true, skip_empty_lines: true, max_record_size: ROW_MOST });
  // A failed read ends the parser, whose error is the one that the loop below throws.
  Readable.from(blocksOf(source), { objectMode: false })
    .on('error', (error) => parser.destroy(error))
    .pipe(parser);
  try {
    // The option `info` makes records so.
    for await (const { record, info } of parser as AsyncIterable<{ readonly record: unknown; readonly info: { readonly lines: number } }>)
      yield { row: record, place: `${manifest}, line ${info.lines}` };
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    // Its message may quote the row, which may hold what must not stay in a history.
    const column =
      typeof error['column'] === 'string' && /_(OPENING|CLOSING)_QUOTE$/.test(error.code) ? `, column \`${error['column']}\`` : '';
    throw new CheckpointConfigError(
      `${manifest}, line ${String(error['lines'])}${column}: ${CSV_FAULTS[error.code.replace(/^CSV_/, '')] ?? 'this is not a CSV'}.`,
      'items.manifest',
    );
  }
}

/** What is wrong, by the parser's codes without their `CSV_`, which one of them lacks. */
const CSV_FAULTS: Readonly<Record<string, string>> = {
  INVALID_OPENING_QUOTE:
    'a quote stands within a value that does not begin with one; put the whole value in quotes, and write `""` for each in it',
  INVALID_CLOSING_QUOTE: 'something stands behind the quote that ends a value; within quotes, write `""` for each that is meant as one',
  NON_TRIMABLE_CHAR_AFTER_CLOSING_QUOTE:
    'something stands behind the quote that ends a value; within quotes, write `""` for each that is meant as one',
  QUOTE_NOT_CLOSED: 'a quote is opened and never closed',
  MAX_RECORD_SIZE: `a row has more than ${ROW_MOST} characters`,
  RECORD_INCONSISTENT_COLUMNS: 'the row has not as many values as the first line has columns',
};

function jsonOf(line: string, place: string, field: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    // The engine's words would quote the line, which may hold what must not stay in a history.
    throw new CheckpointConfigError(`${place}: ${breakText(line, `in column ${(jsonBreak(line) ?? 0) + 1}`)}.`, field);
  }
}

/** Whether a path fits one of the globs. */
export function pathGlob(globs: string | readonly string[]): (key: string) => boolean {
  const fitting = [globs].flat().map((glob) => compilePathGlob(glob, 'items.glob'));
  return (key) => fitting.some((fits) => fits(key));
}

function isList(items: BatchItems): items is Extract<BatchItems, readonly unknown[]> {
  return Array.isArray(items);
}
