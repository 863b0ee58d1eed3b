/** A pipeline document from a file: YAML (and JSON, which is YAML) with the place of every error. */
import { createReadStream } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { isAlias, isMap, isNode, isSeq, LineCounter, parseDocument, visit, type Document, type Node } from 'yaml';
import { loadCatalog, optionProblems, stageOfType, type Catalog } from '../../../activities/catalog.ts';
import { outputClashes } from '../../../activities/output-clashes.ts';
import { CheckpointConfigError, isCheckpointError, textOf, type CheckpointError, type Json, type JsonObject } from '../../errors.ts';
import { refuseCredential } from '../../io/locations/credentials.ts';
import { isMapping } from '../../model/json.ts';
import { isCheckpointName } from '../../model/checkpoint-names.ts';
import { didYouMean } from '../../model/suggestions.ts';
import { booleanNamed } from '../../model/yaml-booleans.ts';
import { yamlWords, type YamlFault } from '../../model/yaml-words.ts';
import { isAnemoi, understandDocument, type Understood } from '../../pipeline/anemoi/document.ts';
import { RUN_KEYS } from '../../pipeline/anemoi/settings.ts';
import type { PipelineInput, StageSpec } from '../../pipeline/contract.ts';
import { checkDocument, optionsOf } from '../../pipeline/document.ts';
import { inPlace, problemsIn, type Problem } from '../../pipeline/moved-errors.ts';
import { documentVariables } from '../environment.ts';
import { interpolate, interpolateStage, isIn, MOST_REFERENCES, type Values } from './interpolate.ts';
import { absoluteLocation, callerFolder } from './paths.ts';

/** Larger documents are not pipelines. */
const MOST_BYTES = 1024 * 1024;
/** How checkpoints begin, and no text does. */
const ZIP = Buffer.from('PK\x03\x04', 'latin1');
const PICKLE = 0x80;
/** Of the YAML parser, against documents that grow without end: a configuration may share its anchors often. */
const MOST_ALIASES = 100;

export interface DocumentSettings {
  /** `--param`. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** `--plugins`: modules and folders with further stages. */
  readonly plugins?: readonly string[];
  /** Takes what was accepted and has no effect. */
  readonly note?: (line: string) => void;
}

/** As the command line gives them. */
export interface DocumentOptions {
  readonly param?: Readonly<Record<string, string>>;
  readonly plugins?: readonly string[];
}

export function documentSettings({ param, plugins }: DocumentOptions, note: (line: string) => void): DocumentSettings {
  return { ...(param === undefined ? {} : { parameters: param }), ...(plugins === undefined ? {} : { plugins }), note };
}

/** A location that begins with a parameter or variable counts from where the user stands; one of the document's own values does not. */
const FROM_OUTSIDE = /^\$\{(?:param\.|oc\.env:|([A-Za-z_]\w*)\})/;

function isFromOutside(location: unknown, root: unknown): boolean {
  const found = FROM_OUTSIDE.exec(String(location));
  return found !== null && (found[1] === undefined || !isIn(root, found[1]));
}

/** Settings of a pipeline that may come from the environment; all others say how it runs. */
const OPEN_SETTINGS = ['name', 'workspace'];

/** Reads any accepted form, resolves references, checks against the catalog, and makes relative locations absolute, from the folder of the document. */
export async function readDocument(file: string, settings: DocumentSettings = {}): Promise<PipelineInput> {
  return readPlaced(file, 'pipeline', (given, folder) => checkInput(given, folder, settings));
}

/** The same error with file, line and column. */
export type Locate = (error: CheckpointError) => CheckpointError;

/** Reads YAML, and says of whatever `understand` finds wrong in it where in the file that stands. */
export async function readPlaced<T>(
  file: string,
  what: string,
  understand: (given: unknown, folder: string, locate: Locate) => Promise<T>,
): Promise<T> {
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
  const text = bytes.toString('utf8');
  const lines = new LineCounter();
  // Merge keys (`<<`) are of YAML 1.1, which Anemoi's reader knows.
  const yaml = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true });
  const broken = yaml.errors[0] ?? yaml.warnings.find(({ code }) => code === 'TAG_RESOLVE_FAILED') ?? wrongAlias(yaml);
  if (broken !== undefined) {
    const { message, offset } = yamlWords(broken, text);
    const { line, col } = lines.linePos(offset);
    throw new CheckpointConfigError(`${path}:${line}:${col}: ${message}`, undefined, { details: { file: path, line, column: col } });
  }
  try {
    return await understand(valueOf(yaml), dirname(path), (error) => located(error, yaml, lines, path));
  } catch (error) {
    if (!isCheckpointError(error)) throw new CheckpointConfigError(`${path}: ${String(error)}`);
    // Another document that this one names has a place of its own.
    throw 'line' in error.details ? error : located(error, yaml, lines, path);
  }
}

/** By its name, or as zip archives and pickles begin; what is not text has a NUL. */
function isCheckpoint(bytes: Buffer, path: string): boolean {
  return bytes.subarray(0, 4).equals(ZIP) || bytes[0] === PICKLE || (isCheckpointName(path) && bytes.includes(0));
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

/** A document that is not a file: references resolved, checked against the catalog, relative locations made absolute from `folder`. */
export async function checkInput(given: unknown, folder: string, settings: DocumentSettings = {}): Promise<PipelineInput> {
  const catalog = await loadCatalog(settings.plugins);
  const parameters = settings.parameters ?? {};
  const used = new Set<string>(RUN_KEYS);
  const values: Values = { environment: documentVariables(), parameters, root: given, budget: { left: MOST_REFERENCES }, used };
  const understood = understandDocument(given, {
    types: [...catalog.keys()],
    parameters: fromCaller(parameters),
    resolve: (text, configPath) => String(interpolate(text, values, configPath)),
  });
  for (const line of understood.notes) settings.note?.(line);
  return inPlace(understood, () => {
    const input = checkDocument(resolved(understood, values));
    refuseCredential(input.workspace, 'workspace');
    const written = (understood.document as { readonly stages: readonly Readonly<Record<string, unknown>>[] }).stages;
    const folderOf = (index: number) => (option: string) => (isFromOutside(written[index]?.[option], given) ? callerFolder() : folder);
    const readingsOf = (index: number) => (option: string) => readings(written[index]?.[option], values, `stages[${index}].${option}`);
    const problems: CheckpointError[] = [];
    const stages = input.stages.map((stage, index) =>
      checkStage(catalog, stage, index, { folderOf: folderOf(index), readingsOf: readingsOf(index), problems }),
    );
    const plain = stages.map((stage) => ({ type: stage.type, options: optionsOf(stage) }));
    problems.push(...outputClashes(plain).map(({ error }) => error));
    if (problems.length > 0) throw together(problems);
    for (const name of Object.keys(parameters).filter((each) => !used.has(each)))
      settings.note?.(
        `\`--param ${name}=…\` is not used: nothing in the document says \`\${param.${name}}\`.${didYouMean(name, [...used])}`,
      );
    return { ...input, stages };
  });
}

/** One problem keeps its error; several become one that lists them all. */
function together(errors: readonly CheckpointError[]): CheckpointError {
  const problems = errors.map(({ message, details }): Problem => ({ path: String(details['config_path'] ?? ''), message }));
  if (problems.length === 1) return errors[0]!;
  return new CheckpointConfigError(`${problems.length} problems.`, problems[0]!.path, { details: { problems: [...problems] } });
}

/** Locations on the command line count from where the user stands, not from the document. */
function fromCaller(parameters: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const runKeys: readonly string[] = RUN_KEYS;
  return Object.fromEntries(
    Object.entries(parameters).map(([key, value]) => [key, runKeys.includes(key) ? absoluteLocation(value, callerFolder()) : value]),
  );
}

function resolved({ document }: Understood, values: Values): unknown {
  if (!isMapping(document)) return document;
  return Object.fromEntries(
    Object.entries(document).map(([key, value]: [string, unknown]) => {
      if (OPEN_SETTINGS.includes(key)) return [key, interpolate(value, { ...values, asTexts: true }, key)];
      if (key !== 'stages' || !Array.isArray(value)) return [key, value];
      const stages = value.map((stage: unknown, index) =>
        isMapping(stage) ? withoutNulls(interpolateStage(stage, values, `stages[${index}]`)) : stage,
      );
      return [key, stages];
    }),
  );
}

/** What a reference comes to may be no value: `${oc.env:NAME,null}`. */
function withoutNulls(stage: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(stage).filter(([, value]) => value !== null));
}

interface StageCheck {
  /** Where the location in an option counts from. */
  readonly folderOf: (option: string) => string;
  /** What else the value of an option with references may mean. */
  readonly readingsOf: (option: string) => readonly unknown[];
  /** Takes what is wrong: the other stages are looked at all the same. */
  readonly problems: CheckpointError[];
}

function checkStage(catalog: Catalog, given: StageSpec, index: number, { folderOf, readingsOf, problems }: StageCheck): StageSpec {
  let stage = given;
  try {
    const definition = stageOfType(catalog, stage.type, index);
    const locations = definition.locations ?? [];
    const problemsOf = (each: StageSpec): number => optionProblems(definition, optionsOf(each), index).length;
    // `--param run=17` is a text where the option wants one, and a number where it wants that.
    for (const key of problemsOf(stage) === 0 ? [] : Object.keys(optionsOf(stage))) {
      const better = readingsOf(key).find((value) => problemsOf({ ...stage, [key]: value as Json }) < problemsOf(stage));
      if (better !== undefined) stage = { ...stage, [key]: better as Json };
    }
    const absolute = Object.entries(stage).map(
      ([key, value]) =>
        [key, locations.includes(key) && typeof value === 'string' ? absoluteLocation(value, folderOf(key)) : value] as const,
    );
    for (const [key, value] of absolute) refuseCredential(value, `stages[${index}].${key}`);
    const located = Object.fromEntries(absolute) as StageSpec;
    problems.push(...optionProblems(definition, optionsOf(located), index));
    return located;
  } catch (error) {
    if (!isCheckpointError(error)) throw error;
    problems.push(error);
    return stage;
  }
}

function readings(written: unknown, values: Values, configPath: string): readonly unknown[] {
  if (written === undefined || !JSON.stringify(written).includes('${')) return [];
  const text = interpolate(written, { ...values, asTexts: true }, configPath);
  const number = typeof text === 'string' && text.trim() !== '' ? Number(text) : NaN;
  return Number.isFinite(number) ? [text, number] : [text];
}

/** The same error with file, line and column of the value it is about, or of each. */
function located(error: CheckpointError, yaml: Document, lines: LineCounter, file: string): CheckpointConfigError {
  const details = error.details;
  const place = (path: unknown): { readonly line: number; readonly column: number } => {
    const { line, col } = lines.linePos(typeof path === 'string' ? offsetOf(yaml, path) : 0);
    return { line, column: col };
  };
  const problems = problemsIn(error)?.map((problem) => ({ ...problem, ...place(problem.path) }));
  const first = problems?.[0] ?? place(details['config_path']);
  const more: JsonObject = { ...details, file, line: first.line, column: first.column };
  if (problems === undefined)
    return new CheckpointConfigError(`${file}:${first.line}:${first.column}: ${error.message}`, undefined, { details: more });
  const told = problems.map(({ line, column, message }) => `${line}:${column}: ${message}`);
  return new CheckpointConfigError(`${file}: ${error.message}`, undefined, {
    details: { ...more, problems, validation_errors: told, num_errors: told.length },
  });
}

/** Offset of the key at `stages[1].option`, or of the nearest thing around it. */
function offsetOf(yaml: Document, path: string): number {
  const steps = path
    .replaceAll(/\[(\d+)\]/g, '.$1')
    .split('.')
    .filter((step) => step !== '');
  let node: unknown = yaml.contents;
  let offset = 0;
  for (let at = 0; at < steps.length; at++) {
    if (isAlias(node)) node = node.resolve(yaml);
    if (isMap(node)) {
      // A key may have dots itself, as names of tensors do.
      const names = steps.slice(at).map((_, more) => steps.slice(at, at + more + 1).join('.'));
      const pair = node.items.find(({ key }) => names.includes(String((key as { value?: unknown }).value)));
      if (pair === undefined) break;
      at += names.indexOf(String((pair.key as { value?: unknown }).value));
      offset = (pair.key as { range?: readonly number[] }).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(steps[at])];
      offset = (node as { range?: readonly number[] } | undefined)?.range?.[0] ?? offset;
    } else break;
  }
  return offset;
}
