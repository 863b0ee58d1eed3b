/** A file of YAML (and JSON, which is YAML), with the place of every error. */
import { createReadStream } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import {
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
  type Pair,
  type YAMLMap,
} from 'yaml';
import { CheckpointConfigError, isCheckpointError, textOf, type CheckpointError, type JsonObject } from '../../errors.ts';
import { utf8Text } from '../../io/utf8.ts';
import { isCheckpointName } from '../../model/checkpoint-names.ts';
import { isMapping } from '../../model/json.ts';
import { booleanNamed } from '../../model/yaml-booleans.ts';
import { strangeBlank, yamlWords, type YamlFault, type YamlWords } from '../../model/yaml-words.ts';
import { isAnemoi } from '../../pipeline/anemoi/document.ts';
import { problemsIn } from '../../pipeline/moved-errors.ts';
import { callerFolder } from './paths.ts';

/** Larger documents are not pipelines. */
const MOST_BYTES = 1024 * 1024;
/** How checkpoints begin, and no text does. */
const ZIP = Buffer.from('PK\x03\x04', 'latin1');
const PICKLE = 0x80;
/** Of the YAML parser, against documents that grow without end: a configuration may share its anchors often. */
const MOST_ALIASES = 100;

/** The same error with file, line and column. */
export type Locate = (error: CheckpointError) => CheckpointError;

/** What a document is understood with, beside its value. */
export interface PlacedFile {
  /** Where it lies. */
  readonly folder: string;
  readonly locate: Locate;
  /** Numbers and booleans of the mapping at `stages[1].values`, as they are written. */
  readonly written: (path: string) => Readonly<Record<string, string>>;
}

/** Reads YAML, and says of whatever `understand` finds wrong in it where in the file that stands. */
export async function readPlaced<T>(file: string, what: string, understand: (given: unknown, file: PlacedFile) => Promise<T>): Promise<T> {
  const path = resolve(callerFolder(), file);
  // A pipe (`<(…)`, `/dev/stdin`) and a device say no size: one byte more than there may be tells, and no other is read.
  const bytes = await buffer(createReadStream(path, { end: MOST_BYTES })).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') throw new CheckpointConfigError(`There is no ${what} document ${path}.`, undefined, { cause });
    if (cause.code === 'EISDIR')
      throw new CheckpointConfigError(`${path} is a folder; a ${what} document is a file, in YAML or JSON.`, undefined, { cause });
    throw new CheckpointConfigError(`The ${what} document ${path} cannot be read: ${cause.message}.`, undefined, { cause });
  });
  if (isCheckpoint(bytes, path))
    throw new CheckpointConfigError(
      `${path} is a checkpoint, and no ${what} document: \`ckpt convert\` publishes one without a document, \`ckpt inspect\` shows what it holds; a document names it in its source.`,
    );
  if (bytes.length > MOST_BYTES)
    throw new CheckpointConfigError(
      `${path} has more than the ${MOST_BYTES} bytes that a ${what} document has at most. Is it the checkpoint itself?`,
    );
  const text = utf8Text(bytes, path);
  const lines = new LineCounter();
  // Merge keys (`<<`) are of YAML 1.1, which Anemoi's reader knows.
  const yaml = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true });
  const broken = yaml.errors[0] ?? yaml.warnings.find(({ code }) => code === 'TAG_RESOLVE_FAILED') ?? wrongAlias(yaml);
  const words = broken === undefined ? strangeBlankIn(yaml) : yamlWords(broken, text);
  if (words !== undefined) {
    const { message, offset } = words;
    const { line, col } = lines.linePos(offset);
    throw new CheckpointConfigError(`${path}:${line}:${col}: ${message}`, undefined, { details: { file: path, line, column: col } });
  }
  try {
    return await understand(valueOf(yaml), {
      folder: dirname(path),
      locate: (error) => located(error, yaml, lines, path),
      written: (place) => writtenIn(yaml, place),
    });
  } catch (error) {
    if (!isCheckpointError(error)) throw new CheckpointConfigError(`${path}: ${String(error)}`);
    // Another document that this one names has a place of its own; of a plug-in it says nothing.
    throw 'line' in error.details || 'plugin' in error.details ? error : located(error, yaml, lines, path);
  }
}

/** By its name, or as zip archives and pickles begin; what is not text has a NUL. */
function isCheckpoint(bytes: Buffer, path: string): boolean {
  return bytes.subarray(0, 4).equals(ZIP) || bytes[0] === PICKLE || (isCheckpointName(path) && bytes.includes(0));
}

/** The first text without quotes that begins or ends with a blank which is none to YAML: a key that is indented with it, mostly. */
function strangeBlankIn(yaml: Document.Parsed): YamlWords | undefined {
  let found: YamlWords | undefined;
  visit(yaml, {
    Scalar(_, { type, source = '', range }) {
      if (type === 'PLAIN') found = strangeBlank(source, range?.[0] ?? 0);
      return found === undefined ? undefined : visit.BREAK;
    },
  });
  return found;
}

/** The first alias that stands for nothing, or for what it stands in; undefined: there is none. One pass, without following any. */
function wrongAlias(yaml: Document.Parsed): YamlFault | undefined {
  const anchors = new Map<string, unknown>();
  let wrong: YamlFault | undefined;
  visit(yaml, {
    Node(_, node, path) {
      if (!isAlias(node)) {
        if (node.anchor !== undefined) anchors.set(node.anchor, node);
        return undefined;
      }
      const target = anchors.get(node.source);
      if (target !== undefined && !path.some((each) => each === target)) return undefined;
      const [start, end] = node.range ?? [0, 0, 0];
      const message =
        target === undefined
          ? `\`*${node.source}\` stands for nothing: no \`&${node.source}\` comes before it. A text that begins with \`*\` needs quotes: \`'*${node.source}'\`.`
          : `\`*${node.source}\` stands for what it is a part of.`;
      wrong = { code: 'BAD_ALIAS', message, pos: [start, end] };
      return visit.BREAK;
    },
  });
  return wrong;
}

function valueOf(yaml: Document): unknown {
  if (yaml.contents === null) throw new CheckpointConfigError('The document is empty: expected a mapping with a list `stages`.', '');
  try {
    const value: unknown = yaml.toJS({ maxAliasCount: MOST_ALIASES });
    if (isAnemoi(value)) readBooleans(yaml);
    // Of a batch only what its `pipeline` says is Anemoi's.
    else if (isMapping(value) && isAnemoi(value['pipeline'])) readBooleans(pipelineIn(yaml));
    else return value;
    return yaml.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (cause) {
    const message = textOf(cause);
    throw new CheckpointConfigError(
      message.startsWith('Excessive alias')
        ? `Its aliases (\`*name\`) expand to more than ${MOST_ALIASES} times what is written: write out what you mean.`
        : `${message}.`,
      '',
      { cause },
    );
  }
}

/** Where it stands: an alias stands for what its anchor marks. */
function pipelineIn(yaml: Document): Node | null {
  const node: unknown = yaml.get('pipeline', true);
  return (isAlias(node) ? node.resolve(yaml) : isNode(node) ? node : null) ?? null;
}

/** Plain words such as `yes` become the booleans that they are to Anemoi's reader; quoted ones, and keys, stay texts. */
function readBooleans(within: Node | Document | null): void {
  visit(within, {
    Scalar(key, node) {
      if (key === 'key' || node.type !== 'PLAIN' || node.tag !== undefined) return;
      node.value = booleanNamed(node.value) ?? node.value;
    },
  });
}

/** The same error with file, line and column of the value it is about, or of each. */
function located(error: CheckpointError, yaml: Document, lines: LineCounter, file: string): CheckpointConfigError {
  const details = error.details;
  const place = (path: unknown): { readonly line: number; readonly column: number } => {
    const { line, col } = lines.linePos(typeof path === 'string' ? offsetOf(yaml, path) : 0);
    return { line, column: col };
  };
  const problems = problemsIn(error)
    ?.map((problem) => ({ ...problem, ...place(problem.path) }))
    .toSorted((a, b) => a.line - b.line || a.column - b.column);
  const first = problems?.[0] ?? place(details['config_path']);
  const at = problems === undefined ? {} : { config_path: problems[0]!.path };
  const more: JsonObject = { ...details, ...at, file, line: first.line, column: first.column };
  if (problems === undefined)
    return new CheckpointConfigError(`${file}:${first.line}:${first.column}: ${error.message}`, undefined, { details: more });
  const told = problems.map(({ line, column, message }) => `${line}:${column}: ${message}`);
  return new CheckpointConfigError(`${file}: ${error.message}`, undefined, {
    details: { ...more, problems, validation_errors: told, num_errors: told.length },
  });
}

/** Offset of the key at `stages[1].option`, or of the nearest thing around it. */
function offsetOf(yaml: Document, path: string): number {
  return placeOf(yaml, path).offset;
}

/** What stands at `stages[1].option`, and the offset of its key; undefined: nothing does, and the offset is of the nearest thing around. */
function placeOf(yaml: Document, path: string): { readonly node: unknown; readonly offset: number } {
  const steps = path
    .replaceAll(/\[(\d+)\]/g, '.$1')
    .split('.')
    .filter((step) => step !== '');
  let node: unknown = yaml.contents;
  let offset = 0;
  for (let at = 0; at < steps.length; at++) {
    node = resolvedIn(yaml, node);
    if (isMap(node)) {
      // A key may have dots itself, as names of tensors do.
      const names = steps.slice(at).map((_, more) => steps.slice(at, at + more + 1).join('.'));
      const pair = pairsOf(yaml, node).find(({ key }) => names.includes(nameOf(key)));
      if (pair === undefined) return { node: undefined, offset };
      at += names.indexOf(nameOf(pair.key));
      offset = (pair.key as { range?: readonly number[] }).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(steps[at])];
      offset = (node as { range?: readonly number[] } | undefined)?.range?.[0] ?? offset;
    } else return { node: undefined, offset };
  }
  return { node: resolvedIn(yaml, node), offset };
}

/** An alias stands for what its anchor marks. */
function resolvedIn(yaml: Document, node: unknown): unknown {
  return isAlias(node) ? node.resolve(yaml) : node;
}

function nameOf(key: unknown): string {
  const { value } = key as { readonly value?: unknown };
  // `<<` is a symbol to the parser.
  return typeof value === 'symbol' ? (value.description ?? '') : String(value);
}

/** What a mapping holds, and behind that what is merged into it (`<<`). */
function pairsOf(yaml: Document, map: YAMLMap): readonly Pair[] {
  const merged = map.items.filter(({ key }) => nameOf(key) === '<<').map(({ value }) => resolvedIn(yaml, value));
  const maps = merged.flatMap((node) => (isSeq(node) ? node.items.map((item) => resolvedIn(yaml, item)) : [node])).filter(isMap);
  return [...map.items, ...maps.flatMap((each) => pairsOf(yaml, each))];
}

/** Numbers and booleans of a mapping, as they are written: of `1.10` and `010` YAML makes other numbers than it says. */
function writtenIn(yaml: Document, path: string): Readonly<Record<string, string>> {
  const { node } = placeOf(yaml, path);
  if (!isMap(node)) return {};
  const scalars = pairsOf(yaml, node).flatMap(({ key, value }): (readonly [string, string])[] => {
    const scalar = resolvedIn(yaml, value);
    const isOne = isScalar(scalar) && ['number', 'boolean'].includes(typeof scalar.value) && scalar.source !== undefined;
    return isOne ? [[nameOf(key), scalar.source!]] : [];
  });
  // What is merged in counts where the mapping has none of that name.
  return Object.fromEntries(scalars.toReversed());
}
