/** The catalog: stages are found in the folders of their kinds, not listed by hand. */
import { readdir } from 'node:fs/promises';
import { z } from 'zod';
import { CheckpointConfigError, type JsonObject } from '../src/errors.ts';
import { issueWords, shown } from '../src/model/issue-words.ts';
import { didYouMean } from '../src/model/suggestions.ts';
import { ended } from '../src/model/text.ts';
import { STAGE_KINDS } from '../src/pipeline/stage-kinds.ts';
import { loadPlugins } from './plugins.ts';
import type { StageDefinition } from './stage.ts';

export type Catalog = ReadonlyMap<string, StageDefinition>;

/** Those of our own folders: what they do is known, and changes with the program. */
const ours = new WeakSet<StageDefinition>();

export function isOurs(stage: StageDefinition | undefined): boolean {
  return stage !== undefined && ours.has(stage);
}

/** Imports every module of `activities/{sources,loaders,modifiers,sinks}`, sorted by kind, then name; then the plug-ins'. */
export async function loadCatalog(plugins: readonly string[] = []): Promise<Catalog> {
  const found = new Map<string, StageDefinition>();
  for (const kind of STAGE_KINDS) {
    const folder = new URL(`./${kind}s/`, import.meta.url);
    const files = await readdir(folder).catch(() => []);
    for (const file of files.filter((name) => name.endsWith('.js')).sort()) {
      const module = (await import(new URL(file, folder).href)) as { default: StageDefinition };
      found.set(module.default.type, module.default);
      ours.add(module.default);
    }
  }
  for (const stage of await loadPlugins(plugins)) {
    if (found.has(stage.type))
      throw new CheckpointConfigError(`A plug-in defines ${stage.type}, which is there already. Give its stage another name.`, undefined, {
        details: { plugin: stage.type },
      });
    found.set(stage.type, stage);
  }
  return found;
}

/** The stage of that type, or a `CheckpointConfigError` with the list and a did-you-mean; a worker may lack what whoever wrote the document has. */
export function stageOfType(catalog: Catalog, type: string, index: number): StageDefinition {
  const stage = catalog.get(type);
  if (stage !== undefined) return stage;
  const types = [...catalog.keys()];
  throw new CheckpointConfigError(
    `Unknown stage type \`${type}\`.${didYouMean(type, types)} Known types: ${types.join(', ')}.`,
    `stages[${index}].type`,
    { details: { reason: 'unknown_stage' } },
  );
}

/** The options, checked and with their defaults, or a `CheckpointConfigError` at `stages[i].option`. */
export function parseOptions(stage: StageDefinition, options: JsonObject, index: number): unknown {
  refuseProto(stage, options, index);
  const parsed = parse(stage, options);
  if (parsed.success) return parsed.data;
  throw problemsOf(stage, options, index, parsed.error.issues)[0]!;
}

/** zod leaves such a key out of a mapping, and says nothing of it. */
function refuseProto(stage: StageDefinition, options: JsonObject, index: number): void {
  for (const [name, value] of Object.entries(options)) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, '__proto__')) continue;
    const hint = name === 'target' ? ' Put the spec into a JSON file, and name that.' : '';
    throw new CheckpointConfigError(
      `${stage.type}: option \`${name}\` cannot have the key \`__proto__\`.${hint}`,
      `stages[${index}].${name}`,
    );
  }
}

/** What is wrong in our words, but for what the schema says itself. */
function parse({ options: schema }: StageDefinition, options: JsonObject) {
  return schema.safeParse(options, { error: issueWords });
}

/** All that `parseOptions` would say, one problem after the other. */
export function optionProblems(stage: StageDefinition, options: JsonObject, index: number): readonly CheckpointConfigError[] {
  return problemsOf(stage, options, index, parse(stage, options).error?.issues ?? []);
}

function problemsOf(stage: StageDefinition, options: JsonObject, index: number, issues: readonly z.core.$ZodIssue[]) {
  const isMissing = (issue: z.core.$ZodIssue): boolean => issue.code === 'invalid_type' && valueAt(options, issue.path) === undefined;
  const problem = (within: string, name: string | null, message: string, reason?: unknown): CheckpointConfigError =>
    new CheckpointConfigError(message, [`stages[${index}]`, ...[within, name ?? ''].filter((part) => part !== '')].join('.'), {
      details: typeof reason === 'string' ? { reason } : {},
    });
  const unknown = issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') return [];
    const within = dotted(issue.path);
    const known = namesAt(z.toJSONSchema(stage.options, { io: 'input' }), issue.path);
    const who = within === '' ? `${stage.type} has no option` : `${stage.type}: \`${within}\` has no`;
    const has = `${within === '' ? 'Its options' : 'It has'}: ${known.join(', ') || 'none'}.`;
    return issue.keys.map((key) => problem(within, key, `${who} \`${key}\`.${didYouMean(key, known)} ${has}`));
  });
  const others = issues
    // A name that is not known is most often the cause of one that is missing.
    .filter((issue) => issue.code !== 'unrecognized_keys' && !(unknown.length > 0 && isMissing(issue)))
    .map((issue) => {
      const within = dotted(issue.path);
      return problem(
        within,
        null,
        `${stage.type}: option \`${within}\`${isMissing(issue) ? ' is missing.' : `: ${ended(withGot(issue, valueAt(options, issue.path)))}`}`,
        reasonOf(issue),
      );
    });
  return [...unknown, ...others];
}

/** What a schema says itself it expects, with what was got. */
function withGot({ code, message }: z.core.$ZodIssue, value: unknown): string {
  // Of a key that is wrong the value says nothing, and a URL may hold what is not to be shown.
  const isTold = !message.startsWith('expected') || message.includes(', got ') || code === 'invalid_key' || String(value).includes('://');
  return isTold ? message : `${message}, got ${shown(value)}`;
}

/** Of our own checks, where they say it. */
function reasonOf(issue: z.core.$ZodIssue): unknown {
  return issue.code === 'custom' ? issue.params?.['reason'] : undefined;
}

/** `rules[0].pattern`. */
function dotted(path: readonly PropertyKey[]): string {
  return path.map((step, at) => (typeof step === 'number' ? `[${step}]` : `${at === 0 ? '' : '.'}${String(step)}`)).join('');
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (each, step) => (typeof each === 'object' && each !== null ? (each as Record<PropertyKey, unknown>)[step] : undefined),
    value,
  );
}

/** Names that a mapping may have there; none where the schema does not say. */
function namesAt(schema: unknown, path: readonly PropertyKey[]): readonly string[] {
  const place = path.flatMap((step) => (typeof step === 'number' ? ['items'] : ['properties', step]));
  return Object.keys((valueAt(schema, [...place, 'properties']) as object | undefined) ?? {});
}
