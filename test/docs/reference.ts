/**
 * The pages of docs/ that are made from what they describe: stages from the catalog, documents from their schemas, settings from the
 * worker's own, commands from their help. `npm run docs` writes them; a test compares.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { loadCatalog } from '../../activities/catalog.ts';
import { pipelineSchema } from '../../activities/pipeline-schema.ts';
import { settingsSchema } from '../../src/io/storage/settings-file.ts';
import { STAGE_CONTROLS } from '../../src/pipeline/contract.ts';
import { CLI } from '../support/cli.ts';
import { PROJECT_ROOT } from '../support/project.ts';

/** As much of JSON Schema as ours use. */
interface Schema {
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly additionalProperties?: Schema | boolean;
  readonly definitions?: Readonly<Record<string, Schema>>;
  readonly title?: string;
}

const MADE = '<!-- Made by `npm run docs`; do not edit. -->';

/** Names of files in docs/ to their texts. */
export async function references(): Promise<Readonly<Record<string, string>>> {
  return { 'stage-reference.md': await stages(), 'configuration.md': configuration(), 'cli.md': commands() };
}

async function stages(): Promise<string> {
  // It is one.
  const { definitions = {} } = pipelineSchema(await loadCatalog()) as Schema;
  const pages = Object.entries(definitions).map(([type, schema]) => {
    const { description } = choicesOf(schema)[0]!.properties!['type']!;
    const options = optionsTable(schema, STAGE_CONTROLS);
    return [`## ${type}`, '', `${sentence(description ?? '')}`, '', options === '' ? 'No options.' : options].join('\n');
  });
  return [
    MADE,
    '# Stages',
    '',
    'Every stage type with its options. Beside them each takes the settings of a stage in [configuration.md](configuration.md#a-stage): `timeout`,',
    '`max_retries`, `retry`, `on_error`, `continue_on_error`. What stages do together is told in [stages.md](stages.md).',
    '',
    ...pages.flatMap((page) => [page, '']),
  ].join('\n');
}

function configuration(): string {
  const read = (name: string): Schema => JSON.parse(readFileSync(join(PROJECT_ROOT, 'schema', name), 'utf8')) as Schema;
  const documents = readdirSync(join(PROJECT_ROOT, 'schema'))
    .filter((name) => name.endsWith('.schema.json'))
    // A batch and a schedule hold a pipeline.
    .sort((a, b) => Number(b.startsWith('pipeline')) - Number(a.startsWith('pipeline')) || (a < b ? -1 : 1))
    .flatMap((name) => {
      const what = name.replace('.schema.json', '');
      return [
        `## A ${what} document`,
        '',
        `Its schema, for editors: [schema/${name}](../schema/${name}).`,
        '',
        optionsTable(read(name), []),
        '',
      ];
    });
  const controls = Object.values(read('pipeline.schema.json').definitions ?? {})[0]!;
  const ofStage = STAGE_CONTROLS.filter((name) => name !== 'type');
  const storage = z.toJSONSchema(settingsSchema, { io: 'input', target: 'draft-7' }) as Schema;
  return [
    MADE,
    '# Configuration',
    '',
    'What documents, the environment and storage settings may say. Options of stages: [stage-reference.md](stage-reference.md); of commands: [cli.md](cli.md).',
    '',
    ...documents,
    '## A stage',
    '',
    'Beside its `type` and the options of its type:',
    '',
    optionsTable(choicesOf(controls)[0]!, ['type'], ofStage),
    '',
    '## `retry`',
    '',
    optionsTable(choicesOf(controls)[0]!.properties!['retry']!, []),
    '',
    '## Environment',
    '',
    "Beside these count Temporal's own variables (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_PROFILE` …) and those of the AWS SDK.",
    '',
    '| variable | what |',
    '|---|---|',
    ...environment().map(([name, what]) => `| \`${name}\` | ${cell(what)} |`),
    '',
    '## Storage settings',
    '',
    'The file that `CKPT_STORAGE` or `ckpt worker --storage` names. [storage.md](storage.md) tells how they play together.',
    '',
    ...Object.entries(storage.properties ?? {}).flatMap(([name, schema]) => [
      `### \`${name}\``,
      '',
      optionsTable(schema.items ?? schema, []),
      '',
    ]),
  ].join('\n');
}

/** Variables with what the one file that reads them says. */
function environment(): readonly (readonly [name: string, what: string])[] {
  const source = readFileSync(join(PROJECT_ROOT, 'src', 'app', 'environment.ts'), 'utf8');
  // A comment may name two that belong together.
  return [...source.matchAll(/\/\*\*[\s*]*(`[A-Z_]+`(?:, `[A-Z_]+`)*)[:,]?\s*(.*?)\*\//gs)].flatMap(([, names, text]) => {
    const what = text!
      .replaceAll(/\s*\n\s*\*?\s*/g, ' ')
      .replace(/; null: (all|not set)/, '')
      .trim()
      .replace(/\.$/, '');
    return names!.split(', ').map((name) => [name.replaceAll('`', ''), what] as const);
  });
}

function optionsTable(schema: Schema, without: readonly string[], only?: readonly string[]): string {
  const choices = choicesOf(schema);
  const rows = new Map<string, string>();
  for (const { properties = {}, required = [] } of choices)
    for (const [name, option] of Object.entries(properties)) {
      if (without.includes(name) || (only !== undefined && !only.includes(name))) continue;
      const usual = required.includes(name) ? 'required' : option.default === undefined ? '' : `\`${JSON.stringify(option.default)}\``;
      rows.set(name, `| \`${name}\` | ${cell(typeText(option))} | ${usual} | ${cell(option.description ?? '')} |`);
    }
  return rows.size === 0 ? '' : ['| option | type | default | what |', '|---|---|---|---|', ...rows.values()].join('\n');
}

/** A mapping, or a choice of several. */
function choicesOf(schema: Schema): readonly Schema[] {
  return schema.anyOf ?? schema.oneOf ?? [schema];
}

function typeText({ type, const: constant, enum: values, anyOf, oneOf, items, properties }: Schema): string {
  if (values !== undefined) return values.map((value) => `\`${String(value)}\``).join(', ');
  if (constant !== undefined) return `\`${String(constant)}\``;
  const choices = anyOf ?? oneOf;
  if (choices !== undefined) return [...new Set(choices.map((choice) => typeText(choice)))].join(' or ');
  if (type === 'array') return items === undefined || typeText(items) === 'any' ? 'list' : `list of ${typeText(items)}`;
  if (type === 'object')
    return properties === undefined
      ? 'mapping'
      : `mapping of ${Object.keys(properties)
          .map((name) => `\`${name}\``)
          .join(', ')}`;
  if (Array.isArray(type)) return type.map((one: string) => typeText({ type: one })).join(' or ');
  return type === 'string' ? 'text' : type === 'integer' ? 'whole number' : type === 'boolean' ? '`true`, `false`' : String(type ?? 'any');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll(/\s*\n\s*/g, ' ');
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function commands(): string {
  const pages: string[] = [];
  const visit = (path: readonly string[]): void => {
    const help = helpOf(path);
    pages.push([`## ckpt${path.map((word) => ` ${word}`).join('')}`, '', '```text', help.trimEnd(), '```', ''].join('\n'));
    for (const name of subcommandsIn(help)) visit([...path, name]);
  };
  for (const name of subcommandsIn(helpOf([]))) visit([name]);
  return [
    MADE,
    '# Commands',
    '',
    'Exit codes of all: 0 success, 1 the pipeline failed or something was found, 2 the command or the document is wrong. `--json` prints one JSON document on stdout;',
    'progress and notes go to stderr. No file is `-`: a document can come from `/dev/stdin`. From a clone, `ckpt` is `node bin/ckpt.js`.',
    '',
    ...pages,
  ].join('\n');
}

/** What `ckpt … --help` prints. */
export function helpOf(path: readonly string[]): string {
  const { stdout, stderr, status } = spawnSync(process.execPath, [CLI, ...path, '--help'], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1' },
  });
  if (status !== 0) throw new Error(`ckpt ${path.join(' ')} --help: ${stderr}`);
  return stdout;
}

function subcommandsIn(help: string): readonly string[] {
  const [, list = ''] = /^Commands:\n((?: {2}.*\n?)*)/m.exec(help) ?? [];
  return [...list.matchAll(/^ {2}([a-z][\w-]*)/gm)].map(([, name]) => name!).filter((name) => name !== 'help');
}
