/** A pipeline document: its references resolved, checked against the catalog, its places made absolute. */
import { loadCatalog, optionProblems, stageOfType, type Catalog } from '../../../activities/catalog.ts';
import { outputClashes } from '../../../activities/output-clashes.ts';
import { CheckpointConfigError, isCheckpointError, type CheckpointError, type Json } from '../../errors.ts';
import { refuseCredential } from '../../io/locations/credentials.ts';
import { isMapping } from '../../model/json.ts';
import { didYouMean } from '../../model/suggestions.ts';
import { understandDocument, type Understood } from '../../pipeline/anemoi/document.ts';
import { RUN_KEYS } from '../../pipeline/anemoi/settings.ts';
import type { PipelineInput, StageSpec } from '../../pipeline/contract.ts';
import { checkDocument, optionsOf } from '../../pipeline/document.ts';
import { inPlace, type Problem } from '../../pipeline/moved-errors.ts';
import { documentVariables } from '../environment.ts';
import { interpolate, interpolateStage, isIn, MOST_REFERENCES, type Values } from './interpolate.ts';
import { absoluteLocation, callerFolder } from './paths.ts';
import { readPlaced } from './placed-file.ts';

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
