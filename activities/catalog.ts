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
  const path = [`stages[${index}]`, ...issue.path.map(String), ...(unknown === undefined ? [] : [unknown])].join('.');
  const known = optionNames(stage);
  const missing = issue.path.length === 1 && options[String(issue.path[0])] === undefined;
  const message =
    unknown === undefined
      ? `${stage.type}: option \`${issue.path.join('.')}\`${missing ? ' is missing' : `: ${issue.message}`}.`
      : `${stage.type} has no option \`${unknown}\`.${didYouMean(unknown, known)} Its options: ${known.join(', ') || 'none'}.`;
  throw new CheckpointConfigError(message, path);
}

function optionNames(stage: StageDefinition): readonly string[] {
  return stage.options instanceof z.ZodObject ? Object.keys(stage.options.shape as object) : [];
}
