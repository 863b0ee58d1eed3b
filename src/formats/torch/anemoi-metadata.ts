/**
 * The metadata that Anemoi adds to a checkpoint: a JSON member, and raw arrays that it names by their paths in the archive.
 *
 * Invariant: carried into an archive of ours, whose folder has another name, the paths name what they named before; all else of the
 * JSON stays as it is spelled.
 */
import { CheckpointLoadError, type JsonObject } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import type { ArchiveMember } from '../../model/header.ts';
import { beyondJsonLimits } from '../json-bounds.ts';
import { endOfText, parseJson } from '../json-break.ts';
import { readMember } from '../zip/member.ts';

const METADATA_LIMIT = 64 * 2 ** 20;
/** The same where it is deflated: what is read is then bounded by nothing that the file has. Anemoi's has some megabytes. */
const INFLATED_METADATA_LIMIT = 16 * 2 ** 20;
/** What `json.dumps` writes of floats that JSON has no numbers for. */
const NON_FINITE = ['NaN', 'Infinity', '-Infinity'] as const;
const METADATA_FOLDER = 'anemoi-metadata/';

/** The folder of every archive that we write. */
export const ARCHIVE_ROOT = 'archive';

export interface AnemoiMetadata {
  readonly json?: JsonObject;
  /** All members of its folder, by their names in the archive's: where their bytes are, or what to write instead of them. */
  readonly members: readonly { readonly name: string; readonly content: ArchiveMember | string }[];
}

/** `root` is the archive's folder, with its slash; `others` are its members beside the storages. */
export async function readAnemoiMetadata(source: ByteSource, others: readonly ArchiveMember[], root: string): Promise<AnemoiMetadata> {
  const folder = `${root}${METADATA_FOLDER}`;
  const members = others.filter(({ name }) => name.startsWith(folder) && !name.endsWith('/'));
  const main = ['anemoi.json', 'ai-models.json']
    .map((name) => members.find((member) => member.name === `${folder}${name}`))
    .find((member) => member !== undefined);
  const read = main === undefined ? undefined : await readJson(source, main);
  const moved = read === undefined ? undefined : withPathsUnder(read.text, root, `${ARCHIVE_ROOT}/`);
  return {
    members: members.map((member) => ({
      name: member.name.slice(root.length),
      content: member === main && moved !== undefined ? moved : member,
    })),
    ...(read === undefined ? {} : { json: read.json }),
  };
}

async function readJson(source: ByteSource, member: ArchiveMember): Promise<{ readonly text: string; readonly json: JsonObject }> {
  const bytes = await readMember(source, member, member.method === 'stored' ? METADATA_LIMIT : INFLATED_METADATA_LIMIT);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    const beyond = beyondJsonLimits(text);
    if (beyond !== undefined) throw new CheckpointLoadError(`${source.uri}: ${member.name} is too much JSON: ${beyond}.`, source.uri);
    const json: unknown = parsePythonJson(text);
    if (typeof json === 'object' && json !== null && !Array.isArray(json)) return { text, json: json as JsonObject }; // JSON.parse gives JSON.
  } catch (cause) {
    if (!(cause instanceof SyntaxError) && !(cause instanceof TypeError)) throw cause;
    throw new CheckpointLoadError(`${source.uri}: ${member.name} is not JSON.`, source.uri, { cause });
  }
  throw new CheckpointLoadError(`${source.uri}: ${member.name} is not a JSON object.`, source.uri);
}

/** JSON as Python writes it: with numbers that are none, for which there is null. */
function parsePythonJson(text: string): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    const plain = withoutNonFinite(text);
    if (plain === text) throw error;
    return parseJson(plain);
  }
}

function withoutNonFinite(text: string): string {
  const parts: string[] = [];
  let copied = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') at = endOfText(text, at);
    const word = NON_FINITE.find((each) => text.startsWith(each, at));
    if (word === undefined) continue;
    parts.push(text.slice(copied, at), 'null');
    copied = at + word.length;
    at = copied - 1;
  }
  return parts.join('') + text.slice(copied);
}

/** The text with the paths of its arrays under another folder; undefined where none of them changes. */
function withPathsUnder(text: string, from: string, to: string): string | undefined {
  if (from === to) return undefined;
  const parts: string[] = [];
  let copied = 0;
  for (const { start, end } of arrayPaths(text)) {
    const path = JSON.parse(text.slice(start, end)) as string; // Its text is a string's.
    if (!path.startsWith(from)) continue;
    parts.push(text.slice(copied, start), JSON.stringify(to + path.slice(from.length)));
    copied = end;
  }
  return copied === 0 ? undefined : parts.join('') + text.slice(copied);
}

const ARRAYS = '"supporting_arrays_paths"';
const PATH = '"path"';

/**
 * Where in a valid JSON text the strings stand that are `path` somewhere in the object `supporting_arrays_paths`: Anemoi nests
 * arrays by data set, at any depth. Written anew as a whole, numbers and keys of the text would be spelled in another way.
 */
function arrayPaths(text: string): readonly { readonly start: number; readonly end: number }[] {
  const found: { start: number; end: number }[] = [];
  /** Of each object or list around: the key that is read, as it is spelled; null: a list, or before a key. */
  const keys: (string | null)[] = [];
  const lists: boolean[] = [];
  for (let at = text.includes(ARRAYS) ? 0 : text.length; at < text.length; at++) {
    const character = text[at];
    if (character === '{' || character === '[') {
      keys.push(null);
      lists.push(character === '[');
    } else if (character === '}' || character === ']') {
      keys.pop();
      lists.pop();
    } else if (character === ',') keys[keys.length - 1] = null;
    else if (character === '"') {
      const end = endOfText(text, at) + 1;
      const isKey = lists.at(-1) === false && keys.at(-1) === null;
      if (isKey) keys[keys.length - 1] = text.slice(at, end);
      else if (keys.length > 1 && keys[0] === ARRAYS && keys.at(-1) === PATH) found.push({ start: at, end });
      at = end - 1;
    }
  }
  return found;
}
