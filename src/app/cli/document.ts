/** A pipeline document: its references resolved, checked against the catalog, its places made absolute. */
import { loadCatalog, optionProblems, stageOfType, type Catalog } from '../../../activities/catalog.ts';
import { outputClashes } from '../../../activities/output-clashes.ts';
import { isCheckpointError, type CheckpointError, type Json, type JsonObject } from '../../errors.ts';
import { refuseCredential } from '../../io/locations/credentials.ts';
import { isMapping, type Mapping } from '../../model/json.ts';
import { numberIn } from '../../model/number-hint.ts';
import { didYouMean } from '../../model/suggestions.ts';
import { aboutOthers, attempt, pathOf, throwTogether, type Tell } from '../../pipeline/all-problems.ts';
import { understandDocument, type Understood } from '../../pipeline/anemoi/document.ts';
import { RUN_KEYS } from '../../pipeline/anemoi/settings.ts';
import type { PipelineInput, StageSpec } from '../../pipeline/contract.ts';
import { MOST_STAGES, optionsOf, PIPELINE_KEYS, shapeProblems } from '../../pipeline/document.ts';
import { placed } from '../../pipeline/moved-errors.ts';
import { plainDocument } from '../../pipeline/plain-document.ts';
import { documentVariables } from '../environment.ts';
import { interpolate, interpolateSettings, interpolateStage, isIn, MOST_REFERENCES, type Values } from './interpolate.ts';
import { absoluteLocation, callerFolder } from './paths.ts';
import { readPlaced } from './placed-file.ts';

export interface DocumentSettings {
  /** `--param`. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** `--plugins`: modules and folders with further stages. */
  readonly plugins?: readonly string[];
  /** Takes what was accepted and has no effect. */
  readonly note?: (line: string) => void;
  /** Takes the parameters that are referred to: whoever reads a document of several parts says which are not. */
  readonly used?: Set<string>;
  /** Numbers and booleans of the mapping at a place of the document, as they are written there; left out, none of them is known. */
  readonly written?: (path: string) => Readonly<Record<string, string>>;
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

/** The folder that a location of a document counts from, by how it is written there. */
export function folderOf(written: unknown, root: unknown, folder: string): string {
  const found = FROM_OUTSIDE.exec(String(written));
  return found !== null && (found[1] === undefined || !isIn(root, found[1])) ? callerFolder() : folder;
}

/** What references in a document stand for. */
export function valuesFor(root: unknown, { parameters = {}, used }: DocumentSettings, tell: Tell): Values {
  const budget = { left: MOST_REFERENCES };
  return { environment: documentVariables(), parameters, root, budget, tell, ...(used === undefined ? {} : { used }) };
}

/** Says which parameters nothing has used, of all that `read` reads. */
export async function notingUnused<T>(settings: DocumentSettings, read: (settings: DocumentSettings) => Promise<T>): Promise<T> {
  if (settings.used !== undefined) return read(settings);
  const used = new Set<string>(RUN_KEYS);
  const result = await read({ ...settings, used });
  for (const name of Object.keys(settings.parameters ?? {}).filter((each) => !used.has(each)))
    settings.note?.(`\`--param ${name}=…\` is not used: nothing in the document says \`\${param.${name}}\`.${didYouMean(name, [...used])}`);
  return result;
}

/** Reads any accepted form, resolves references, checks against the catalog, and makes relative locations absolute, from the folder of the document. */
export async function readDocument(file: string, settings: DocumentSettings = {}): Promise<PipelineInput> {
  return readPlaced(file, 'pipeline', (given, { folder, written }) => checkInput(given, folder, { ...settings, written }));
}

/** A document that is not a file: references resolved, checked against the catalog, relative locations made absolute from `folder`. */
export async function checkInput(given: unknown, folder: string, settings: DocumentSettings = {}): Promise<PipelineInput> {
  return notingUnused(settings, (noted) => inputOf(given, folder, noted));
}

async function inputOf(given: unknown, folder: string, settings: DocumentSettings): Promise<PipelineInput> {
  const catalog = await loadCatalog(settings.plugins);
  const problems: CheckpointError[] = [];
  const unresolved: CheckpointError[] = [];
  const values = valuesFor(given, settings, (error) => unresolved.push(error));
  const understood = understandDocument(given, {
    types: [...catalog.keys()],
    parameters: fromCaller(settings.parameters ?? {}),
    resolve: (text, configPath) => String(interpolate(text, withoutTell(values), configPath)),
    tell: (error) => problems.push(error),
  });
  for (const line of understood.notes) settings.note?.(line);
  const { document } = plainDocument(resolved(understood, values));
  // As far as it is one: what it says is checked below, a part at a time.
  const input = document as PipelineInput;
  const drafted = isMapping(understood.document) ? understood.document : {};
  const found = [...shapeProblems(document)];
  const tell: Tell = (error) => found.push(error);
  attempt(() => refuseCredential(input?.workspace, 'workspace'), undefined, tell);
  const check = (stage: StageSpec, index: number): StageSpec => {
    const options = (drafted['stages'] as readonly Mapping[])[index] ?? {};
    return checkStage(catalog, stage, index, {
      folderOf: (option) => folderOf(options[option], given, folder),
      writtenIn: (option) => settings.written?.(`${understood.origins[index] ?? ''}.${option}`) ?? {},
      readingsOf: (option) => readings(options[option], withoutTell(values), `stages[${index}].${option}`),
      tell,
    });
  };
  const stages = stagesIn(document).map((stage, index) => (isStage(stage) ? check(stage, index) : (stage as StageSpec)));
  const others = aboutOthers(found, [...unresolved.map(pathOf), ...understood.unread.map((index) => `stages[${index}]`)]);
  problems.push(...[...unresolved, ...others].map((error) => placed(error, understood)));
  // Of stages that are right, as one says what the other does not.
  if (problems.length === 0) {
    const plain = stages.map((stage) => ({ type: stage.type, options: optionsOf(stage) }));
    problems.push(...outputClashes(plain).map(({ error }) => placed(error, understood)));
  }
  throwTogether(problems);
  return { ...input, stages };
}

function stagesIn(document: unknown): readonly unknown[] {
  const stages = isMapping(document) ? document['stages'] : undefined;
  return Array.isArray(stages) ? stages.slice(0, MOST_STAGES) : [];
}

function isStage(stage: unknown): stage is StageSpec {
  return isMapping(stage) && typeof stage['type'] === 'string';
}

/** For a value that is tried. */
function withoutTell({ tell: _tell, ...values }: Values): Values {
  return values;
}

/** Locations on the command line count from where the user stands, not from the document. */
function fromCaller(parameters: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const runKeys: readonly string[] = RUN_KEYS;
  return Object.fromEntries(
    Object.entries(parameters).map(([key, value]) => [key, runKeys.includes(key) ? absoluteLocation(value, callerFolder()) : value]),
  );
}

/** Settings of a pipeline that are text; others may be numbers and booleans. */
const TEXTS = ['name', 'workspace'];

function resolved({ document }: Understood, values: Values): unknown {
  if (!isMapping(document)) return document;
  const { stages, ...others } = document;
  const known = Object.entries(others).filter(([key]) => PIPELINE_KEYS.includes(key));
  const unknown = Object.entries(others).filter(([key]) => !PIPELINE_KEYS.includes(key));
  const ofStage = (stage: unknown, index: number): unknown =>
    isMapping(stage) ? interpolateStage(stage, values, `stages[${index}]`) : stage;
  return {
    ...interpolateSettings(Object.fromEntries(known), values, TEXTS),
    ...Object.fromEntries(unknown),
    ...('stages' in document ? { stages: Array.isArray(stages) ? stages.map(ofStage) : stages } : {}),
  };
}

interface StageCheck {
  /** Where the location in an option counts from. */
  readonly folderOf: (option: string) => string;
  /** What else the value of an option with references may mean. */
  readonly readingsOf: (option: string) => readonly unknown[];
  /** Numbers and booleans in an option that is a mapping, as they are written. */
  readonly writtenIn: (option: string) => Readonly<Record<string, string>>;
  /** Takes what is wrong: the other stages are looked at all the same. */
  readonly tell: Tell;
}

function checkStage(
  catalog: Catalog,
  given: StageSpec,
  index: number,
  { folderOf: folderFor, writtenIn, readingsOf, tell }: StageCheck,
): StageSpec {
  let stage = given;
  try {
    const definition = stageOfType(catalog, stage.type, index);
    const locations = definition.locations ?? [];
    for (const key of definition.asWritten ?? []) stage = { ...stage, ...keptAsWritten(stage, key, writtenIn(key)) };
    const problemsOf = (each: StageSpec): number => optionProblems(definition, optionsOf(each), index).length;
    // `--param run=17` is a text where the option wants one, and a number where it wants that.
    for (const key of problemsOf(stage) === 0 ? [] : Object.keys(optionsOf(stage))) {
      const better = readingsOf(key).find((value) => problemsOf({ ...stage, [key]: value as Json }) < problemsOf(stage));
      if (better !== undefined) stage = { ...stage, [key]: better as Json };
    }
    const absolute = Object.entries(stage).map(
      ([key, value]) =>
        [key, locations.includes(key) && typeof value === 'string' ? absoluteLocation(value, folderFor(key)) : value] as const,
    );
    for (const [key, value] of absolute) refuseCredential(value, `stages[${index}].${key}`);
    const located = Object.fromEntries(absolute) as StageSpec;
    for (const problem of optionProblems(definition, optionsOf(located), index)) tell(problem);
    return located;
  } catch (error) {
    if (!isCheckpointError(error)) throw error;
    tell(error);
    return stage;
  }
}

/** The option with its numbers and booleans as the texts that they are written as. */
function keptAsWritten(stage: StageSpec, key: string, texts: Readonly<Record<string, string>>): JsonObject {
  const { [key]: option } = stage;
  if (!isMapping(option)) return {};
  const isKept = ([name, value]: readonly [string, Json]): boolean => typeof value !== 'string' && Object.hasOwn(texts, name);
  const kept = Object.entries(option as JsonObject).filter(isKept);
  return { [key]: { ...(option as JsonObject), ...Object.fromEntries(kept.map(([name]) => [name, texts[name]!])) } };
}

function readings(written: unknown, values: Values, configPath: string): readonly unknown[] {
  if (written === undefined || !JSON.stringify(written).includes('${')) return [];
  // What cannot be resolved has been told.
  const text = attempt(
    () => interpolate(written, { ...values, as: 'text' }, configPath),
    undefined,
    () => undefined,
  );
  if (text === undefined) return [];
  const number = numberIn(text);
  return number === null ? [text] : [text, number];
}
