/**
 * The items of a batch, one after another: from a folder, an S3 prefix, a manifest or a list.
 *
 * Invariant: in the same order whenever nothing has changed; what is held at a time is one folder, or one manifest.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CheckpointConfigError, CheckpointNotFoundError, CheckpointSourceError } from '../errors.ts';
import type { ByteSource } from '../model/byte-source.ts';
import { itemOf, type BatchItem, type BatchItems, type Outcome } from '../pipeline/batch.ts';
import { compileRegex } from '../transform/patterns.ts';
import { localPath } from './local-file.ts';
import { isS3, parseS3, s3Uri } from './s3/location.ts';
import { objectsUnder } from './s3/source.ts';
import type { Storage } from './storage/storage.ts';

const CHECKPOINTS = '**/*.{ckpt,pt,pth,bin,safetensors}';
/** Bytes of a manifest: a million rows with some columns. */
const MANIFEST_MOST = 256 * 2 ** 20;

export interface ItemPlaces {
  readonly storage: Storage;
  /** Text of a file of the workspace; null where it is no such file. */
  readonly own: (uri: string) => Promise<string | null>;
}

export async function* listItems(items: BatchItems, places: ItemPlaces): AsyncGenerator<BatchItem> {
  if (isList(items)) {
    for (const [index, item] of items.entries()) yield itemOf(item, `items[${index}]`);
  } else if ('manifest' in items) yield* manifestItems(items.manifest, await textOf(items.manifest, places));
  else if ('failed_in' in items) {
    const text = (await places.own(items.failed_in)) ?? (await textOf(items.failed_in, places));
    for (const line of linesOf(text)) {
      const { item, uri, columns, status } = JSON.parse(line) as Outcome;
      if (status === 'failed' || status === 'cancelled') yield { uri, key: item, columns };
    }
  } else {
    const fits = pathGlob(items.glob ?? CHECKPOINTS);
    for await (const { uri, key } of isS3(items.uri) ? objects(items.uri, places.storage) : files(items.uri, places.storage))
      if (fits(key)) yield { uri, key, columns: {} };
  }
}

type Place = { readonly uri: string; readonly key: string };

async function* files(uri: string, storage: Storage): AsyncGenerator<Place> {
  const root = localPath(uri);
  await storage.fence.checkPath(root);
  const found = await stat(root).catch((cause: unknown) => {
    throw new CheckpointNotFoundError(`There is no folder ${root}.`, root, { cause });
  });
  if (!found.isDirectory())
    throw new CheckpointConfigError(`${root} is no folder. A list of files is a \`manifest\`, or a list.`, 'items.uri');
  yield* filesIn(root, '');
}

/** Hidden files and links to folders are left out: the former are nobody's checkpoints, the latter may lead in circles. */
async function* filesIn(folder: string, prefix: string): AsyncGenerator<Place> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: Error) => {
    throw new CheckpointSourceError(`${folder} cannot be listed: ${cause.message}.`, folder, { cause });
  });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.')) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesIn(path, `${prefix}${entry.name}/`);
    else if (entry.isFile() || entry.isSymbolicLink()) yield { uri: pathToFileURL(path).href, key: `${prefix}${entry.name}` };
  }
}

async function* objects(uri: string, storage: Storage): AsyncGenerator<Place> {
  const { bucket, key } = parseS3(uri);
  const prefix = key.endsWith('/') ? key : `${key}/`;
  const port = await storage.s3(uri);
  for await (const object of objectsUnder(port, { bucket, key: prefix }, { flat: false, policy: storage.policy }))
    if (!object.key.endsWith('/')) yield { uri: s3Uri({ bucket, key: object.key }), key: object.key.slice(prefix.length) };
}

function* manifestItems(manifest: string, text: string): Generator<BatchItem> {
  const folder = manifest.slice(0, manifest.lastIndexOf('/') + 1);
  const placed = (item: BatchItem): BatchItem =>
    /^[a-z][a-z0-9+.-]*:\/\//i.test(item.uri) || item.uri.startsWith('/') ? item : { ...item, uri: `${folder}${item.uri}` };
  if (/\.(jsonl|ndjson)$/i.test(manifest)) {
    for (const [index, line] of linesOf(text).entries()) {
      let row: unknown;
      try {
        row = JSON.parse(line);
      } catch (cause) {
        throw new CheckpointConfigError(`${manifest}, row ${index + 1}: ${(cause as Error).message}.`, 'items.manifest', { cause });
      }
      yield placed(itemOf(row, `${manifest}, row ${index + 1}`));
    }
    return;
  }
  const [header, ...rows] = parseCsv(text, manifest);
  if (header === undefined || !header.includes('uri'))
    throw new CheckpointConfigError(
      `${manifest}: the first line of a CSV manifest names its columns, one of them \`uri\`.`,
      'items.manifest',
    );
  for (const [index, row] of rows.entries()) {
    if (row.length !== header.length)
      throw new CheckpointConfigError(`${manifest}, row ${index + 1}: ${row.length} fields, expected ${header.length}.`, 'items.manifest');
    yield placed(itemOf(Object.fromEntries(header.map((name, at) => [name, row[at]!])), `${manifest}, row ${index + 1}`));
  }
}

/** RFC 4180: fields in double quotes may hold commas, line ends and doubled quotes. */
export function parseCsv(text: string, name: string): readonly (readonly string[])[] {
  const rows: string[][] = [];
  let row: string[] = [];
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/gy;
  const content = text.replace(/^\uFEFF/, '');
  while (field.lastIndex < content.length || row.length > 0) {
    const at = field.lastIndex;
    const match = field.exec(content);
    if (match === null)
      throw new CheckpointConfigError(
        `${name}, row ${rows.length}: a quote at character ${at} is not closed, or stands inside a field.`,
        'items.manifest',
      );
    row.push(match[1]?.replaceAll('""', '"') ?? match[2]!);
    if (match[3] === ',') {
      if (field.lastIndex < content.length) continue;
      row.push('');
    }
    if (row.length > 1 || row[0] !== '') rows.push(row);
    row = [];
  }
  return rows;
}

/** Globs over paths: `*` and `?` stay within a folder, `**` crosses them, `{a,b}` is either. */
export function pathGlob(globs: string | readonly string[]): (key: string) => boolean {
  const patterns = [globs].flat().map((glob) => {
    const text = glob.replaceAll(/\*\*\/|\*\*|[*?{},]|[.+^$()|[\]\\]/g, (mark) => {
      if (mark === '**/') return '(?:.*/)?';
      if (mark === '**') return '.*';
      if (mark === '*') return '[^/]*';
      if (mark === '?') return '[^/]';
      if (mark === '{') return '(?:';
      if (mark === '}') return ')';
      return mark === ',' ? (glob.includes('{') ? '|' : ',') : `\\${mark}`;
    });
    return compileRegex(`^(?:${text})$`, 'items.glob');
  });
  return (key) => patterns.some((pattern) => pattern.matches(key));
}

async function textOf(uri: string, { storage }: ItemPlaces): Promise<string> {
  const source: ByteSource = await storage.open(uri);
  try {
    if (source.size > MANIFEST_MOST)
      throw new CheckpointConfigError(`${uri} has ${source.size} bytes; a manifest has at most ${MANIFEST_MOST}.`, 'items.manifest');
    return Buffer.from(await source.read(0, source.size)).toString('utf8');
  } finally {
    await source.close();
  }
}

function linesOf(text: string): readonly string[] {
  return text.split('\n').filter((line) => line.trim() !== '');
}

function isList(items: BatchItems): items is Extract<BatchItems, readonly unknown[]> {
  return Array.isArray(items);
}
