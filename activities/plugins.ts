/**
 * Stages that are not ours: modules that whoever runs a worker names on its command line.
 *
 * A plug-in is code of the worker's owner and runs with the worker's rights. Nothing in a pipeline document or a checkpoint can
 * name one: a document knows stage types only.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { CheckpointConfigError, textOf } from '../src/errors.ts';
import { isMapping } from '../src/model/json.ts';
import { STAGE_CONTROLS } from '../src/pipeline/contract.ts';
import { STAGE_KINDS } from '../src/pipeline/stage-kinds.ts';
import type { StageDefinition } from './stage.ts';

const TYPE = new RegExp(`^(${STAGE_KINDS.join('|')})\\.[a-z][a-z0-9_]*$`);
const MODULE = /\.m?js$/;

/** The stages of all modules and folders; throws `CheckpointConfigError` for one that is none. */
export async function loadPlugins(places: readonly string[]): Promise<readonly StageDefinition[]> {
  const found = new Map<string, { readonly stage: StageDefinition; readonly file: string }>();
  for (const place of places) {
    for (const file of await modulesAt(resolve(place))) {
      for (const stage of await stagesOf(file)) {
        const other = found.get(stage.type);
        if (other !== undefined && other.file !== file)
          throw refused(file, `Two plug-ins define ${stage.type}: ${other.file} and ${file}.`);
        found.set(stage.type, { stage, file });
      }
    }
  }
  return [...found.values()].map(({ stage }) => stage);
}

/** A module itself, a package's main module, or the modules of a folder in order of their names. */
async function modulesAt(place: string): Promise<readonly string[]> {
  const stats = await stat(place).catch((cause: Error) => {
    throw refused(place, `There is no plug-in ${place}: ${cause.message}. \`--plugins\` takes a module or a folder of modules.`, cause);
  });
  if (!stats.isDirectory()) return [place];
  const main = await mainOf(place);
  if (main !== undefined) return [main];
  const names = (await readdir(place)).filter((name) => MODULE.test(name)).sort();
  if (names.length === 0)
    throw refused(place, `The folder ${place} holds no plug-in: neither a package with \`exports\` or \`main\`, nor .js or .mjs modules.`);
  return names.map((name) => join(place, name));
}

/** Undefined where the folder is not a package, or one that names no module. */
async function mainOf(folder: string): Promise<string | undefined> {
  const file = join(folder, 'package.json');
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const { exports, main } = manifestOf(text, file);
  if (exports === undefined || exports === null) return typeof main === 'string' ? join(folder, main) : undefined;
  const entry = entryOf(exports);
  if (entry !== undefined) return join(folder, entry);
  throw refused(
    folder,
    `The plug-in ${folder} has \`exports\` without a main module in its package.json. Expected \`"exports": "./plugin.js"\`, or \`{".": …}\` with a text or the conditions \`import\` or \`default\`.`,
  );
}

function manifestOf(text: string, file: string): { readonly exports?: unknown; readonly main?: unknown } {
  try {
    const manifest: unknown = JSON.parse(text);
    return typeof manifest === 'object' && manifest !== null ? manifest : {};
  } catch (cause) {
    throw refused(file, `${file} is not JSON.`, cause);
  }
}

/** Conditions of Node that hold for us, in the order in which we look. */
const CONDITIONS = ['import', 'default'] as const;

/** The main module that `exports` of a package names: a text, conditions, or either of them under `.`. */
function entryOf(exports: unknown): string | undefined {
  if (typeof exports === 'string') return exports;
  if (typeof exports !== 'object' || exports === null) return undefined;
  // By its own keys, in this order: a path or a condition.
  const named = exports as Readonly<Record<string, unknown>>;
  for (const key of ['.', ...CONDITIONS]) {
    const entry = Object.hasOwn(named, key) ? entryOf(named[key]) : undefined;
    if (entry !== undefined) return entry;
  }
  return undefined;
}

async function stagesOf(file: string): Promise<readonly StageDefinition[]> {
  let exported: unknown;
  try {
    exported = ((await import(pathToFileURL(file).href)) as { default?: unknown }).default;
  } catch (cause) {
    throw refused(file, `The plug-in ${file} cannot be loaded: ${textOf(cause)}`, cause);
  }
  const stages = Array.isArray(exported) ? (exported as readonly unknown[]) : [exported];
  return stages.map((stage) => checked(stage, file));
}

/** What the types promise where the plug-in is TypeScript, and nobody where it is not. */
function checked(stage: unknown, file: string): StageDefinition {
  const bad = (what: string): CheckpointConfigError =>
    refused(
      file,
      `The plug-in ${file} ${what}. Its default export is \`defineStage({type, description, options, run})\`, or a list of them.`,
    );
  if (typeof stage !== 'object' || stage === null) throw bad('exports no stage by default');
  const { type, description, options, run } = stage as Partial<Record<keyof StageDefinition, unknown>>;
  if (typeof type !== 'string' || !TYPE.test(type))
    throw bad(`has a stage whose \`type\` is ${JSON.stringify(type)}, expected such as \`modifier.my_change\``);
  if (typeof description !== 'string' || description === '') throw bad(`says nothing in the \`description\` of ${type}`);
  if (typeof run !== 'function') throw bad(`has no \`run\` in ${type}`);
  if (typeof (options as { safeParse?: unknown } | undefined)?.safeParse !== 'function')
    throw bad(`has no zod schema as \`options\` of ${type}`);
  const wrong = optionsFault(options as z.ZodType);
  if (wrong !== null) throw bad(`has \`options\` of ${type} ${wrong}`);
  return stage as StageDefinition;
}

/** What is wrong with the schema of a stage's options; null: they can be told to people and editors, and given in a document. */
function optionsFault(schema: z.ZodType): string | null {
  let told: unknown;
  try {
    told = z.toJSONSchema(schema, { io: 'input' });
  } catch (cause) {
    return `that JSON cannot have (${textOf(cause)}): a document gives texts, numbers, booleans, lists and mappings`;
  }
  const reserved = STAGE_CONTROLS.find((name) => optionNames(told).includes(name));
  return reserved === undefined ? null : `with \`${reserved}\` among them, which says how any stage is run: give it another name`;
}

/** Of one mapping, or of a choice of several. */
function optionNames(schema: unknown): readonly string[] {
  if (!isMapping(schema)) return [];
  const choices = [schema['anyOf'], schema['oneOf'], schema['allOf']].flatMap((choice): readonly unknown[] =>
    Array.isArray(choice) ? choice : [],
  );
  return [...(isMapping(schema['properties']) ? Object.keys(schema['properties']) : []), ...choices.flatMap(optionNames)];
}

/** With the plug-in in its details: no document is to blame. */
function refused(plugin: string, message: string, cause?: unknown): CheckpointConfigError {
  return new CheckpointConfigError(message, undefined, { details: { plugin }, ...(cause === undefined ? {} : { cause }) });
}
