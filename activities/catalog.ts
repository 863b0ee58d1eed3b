/** The catalog: stages are found in the folders of their kinds, not listed by hand. */
import { readdir } from 'node:fs/promises';
import { z } from 'zod';
import { CheckpointConfigError, type JsonObject } from '../src/errors.ts';
import { STAGE_KINDS } from '../src/pipeline/contract.ts';
import { didYouMean } from '../src/pipeline/suggestions.ts';
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
      throw new CheckpointConfigError(`A plug-in defines ${stage.type}, which is there already. Give its stage another name.`);
    found.set(stage.type, stage);
  }
  return found;
}

/** The stage of that type, or a `CheckpointConfigError` with the list and a did-you-mean. */
export function stageOfType(catalog: Catalog, type: string, index: number): StageDefinition {
  const stage = catalog.get(type);
  if (stage !== undefined) return stage;
  const types = [...catalog.keys()];
  throw new CheckpointConfigError(
    `Unknown stage type \`${type}\`.${didYouMean(type, types)} Known types: ${types.join(', ')}.`,
    `stages[${index}].type`,
  );
}

/** The options, checked and with their defaults, or a `CheckpointConfigError` at `stages[i].option`. */
export function parseOptions(stage: StageDefinition, options: JsonObject, index: number): unknown {
  const parsed = stage.options.safeParse(options);
  if (parsed.success) return parsed.data;
  const { issues } = parsed.error;
  // A name that is not known is most often the cause of one that is missing.
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]!;
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const within = dotted(issue.path);
  const path = [`stages[${index}]`, ...(within === '' ? [] : [within]), ...(unknown === undefined ? [] : [unknown])].join('.');
  if (unknown === undefined) {
    const missing = issue.code === 'invalid_type' && valueAt(options, issue.path) === undefined;
    throw new CheckpointConfigError(`${stage.type}: option \`${within}\`${missing ? ' is missing' : `: ${issue.message}`}.`, path);
  }
  const known = namesAt(z.toJSONSchema(stage.options, { io: 'input' }), issue.path);
  const who = within === '' ? `${stage.type} has no option` : `${stage.type}: \`${within}\` has no`;
  throw new CheckpointConfigError(
    `${who} \`${unknown}\`.${didYouMean(unknown, known)} ${within === '' ? 'Its options' : 'It has'}: ${known.join(', ') || 'none'}.`,
    path,
  );
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
