/**
 * `${ENV}`, `${param.x}` and references into the document, in values only: never in keys, nor in stage types, which decide what runs.
 *
 * Invariant: a value that looks like a credential by its name is refused, for what stands in a document goes into the
 * run's history; credentials belong into the worker's own environment.
 */
import { CheckpointConfigError } from '../../errors.ts';
import type { Mapping } from '../../model/json.ts';
import { numberIn } from '../../model/number-hint.ts';
import { didYouMean } from '../../model/suggestions.ts';
import { within } from '../../model/text.ts';
import { attempt, type Tell } from '../../pipeline/all-problems.ts';
import { STAGE_CONTROLS } from '../../pipeline/contract.ts';
import { refuseMandatory } from '../../pipeline/mandatory.ts';

export interface Values {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly parameters: Readonly<Record<string, string>>;
  /** The document as it was written: `${hardware.paths.output}` refers into it. */
  readonly root: unknown;
  /** How many references may still be resolved: those that lead to others multiply. */
  readonly budget: { left: number };
  /** Takes the parameters that are referred to. */
  readonly used?: Set<string>;
  /** Takes what cannot be resolved, which stays as it is written; without it the first such reference is thrown. */
  readonly tell?: Tell;
  /**
   * What a value that is nothing but a reference becomes: `text` what it stands for, be it that of a number; `number` one, however it is written (`1.0`).
   * Left out: a number or boolean where nothing of the text is lost.
   */
  readonly as?: 'text' | 'number';
}

export const MOST_REFERENCES = 10_000;

/** References to references to …: Anemoi's own paths take three. */
const DEEPEST = 8;
/** Characters of one value. */
const LONGEST = 64 * 1024;
const SECRET = /SECRET|TOKEN|PASSW|CREDENTIAL|PRIVATE|ACCESS_KEY|API_?KEY/i;
/** Keys of a stage that say what runs. */
const PLAIN_KEYS = ['type', '_target_'];

/** A stage with its references resolved; `configPath` is that of the stage, for errors. */
export function interpolateStage(stage: Mapping, values: Values, configPath: string): Mapping {
  const entries = Object.entries(stage).map(([key, value]) => {
    const path = `${configPath}.${key}`;
    return [key, orTold(values, value, () => ofOption(key, value, values, path))] as const;
  });
  // What a reference comes to may be no value: `${oc.env:NAME,null}`.
  return Object.fromEntries(entries.filter(([, value]) => value !== null));
}

function ofOption(key: string, value: unknown, values: Values, path: string): unknown {
  refuseMandatory(value, key, path);
  if ((STAGE_CONTROLS as readonly string[]).includes(key) && key !== 'type') return interpolate(value, { ...values, as: 'number' }, path);
  if (!PLAIN_KEYS.includes(key)) return interpolate(value, values, path);
  if (typeof value === 'string' && value.includes('${'))
    throw new CheckpointConfigError(
      `\`${key}\` must be written out: which stage runs cannot come from the environment or a parameter.`,
      path,
    );
  return value;
}

/** Settings of a document with their references resolved, those of `texts` to text and nothing else. */
export function interpolateSettings(settings: Mapping, values: Values, texts: readonly string[]): Mapping {
  const resolve = (key: string, value: unknown): unknown => {
    refuseMandatory(value, key, key);
    return interpolate(value, { ...values, as: texts.includes(key) ? 'text' : 'number' }, key);
  };
  const entries = Object.entries(settings);
  // What is written as nothing is for the checks.
  const isLeftOut = ([key, value]: readonly [string, unknown]): boolean => value === null && settings[key] !== null;
  return Object.fromEntries(
    entries.map(([key, value]) => [key, orTold(values, value, () => resolve(key, value))] as const).filter((entry) => !isLeftOut(entry)),
  );
}

/** Strings inside mappings and lists; keys stay as they are. */
export function interpolate(value: unknown, values: Values, configPath: string, depth = 0): unknown {
  if (typeof value === 'string')
    return depth > 0 ? ofText(value, values, configPath, depth) : orTold(values, value, () => ofText(value, values, configPath, 0));
  if (Array.isArray(value)) return value.map((item, index) => interpolate(item, values, `${configPath}[${index}]`, depth));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, interpolate(item, values, `${configPath}.${key}`, depth)]));
}

/** What is written stays where it cannot be resolved and that is told. */
function orTold(values: Values, written: unknown, resolve: () => unknown): unknown {
  // Once too much has been asked for, the rest would be told so, too.
  return values.tell === undefined || values.budget.left < 0 ? resolve() : attempt(resolve, written, values.tell);
}

/** A text is literal characters and references; what a reference says may have references in it, what it comes to has none. */
type Parts = readonly (string | { readonly reference: Parts })[];

function ofText(text: string, values: Values, configPath: string, depth: number): unknown {
  if (!text.includes('${')) return text;
  if (depth > DEEPEST)
    throw new CheckpointConfigError(`References lead to references more than ${DEEPEST} deep: \`${text.slice(0, 200)}\`.`, configPath);
  const parts = partsOf(text, configPath);
  const only = parts.length === 1 ? parts[0]! : '';
  const result =
    typeof only === 'string'
      ? joined(parts, values, configPath, depth)
      : scalar(resolved(only.reference, values, configPath, depth), values);
  if (typeof result === 'string' && result.length > LONGEST)
    throw new CheckpointConfigError(
      `The value has ${result.length} characters once its references are resolved; the limit is ${LONGEST}.`,
      configPath,
    );
  return result;
}

/** `$${` stands for the characters themselves; a `${` that nothing closes is refused, as it would be a part of a name. */
function partsOf(text: string, configPath: string): Parts {
  const open: (string | { readonly reference: Parts })[][] = [[]];
  const add = (part: string): void => {
    const level = open.at(-1)!;
    if (typeof level.at(-1) === 'string') level[level.length - 1] = `${level.at(-1) as string}${part}`;
    else if (part !== '') level.push(part);
  };
  for (const token of text.split(/(\$\$\{|\$\{|\})/)) {
    if (token === '$${') add('${');
    else if (token === '${') open.push([]);
    else if (token === '}' && open.length > 1) open.at(-2)!.push({ reference: open.pop()! });
    else add(token);
    if (open.length > DEEPEST) throw new CheckpointConfigError(`References stand in references more than ${DEEPEST} deep.`, configPath);
  }
  if (open.length > 1)
    throw new CheckpointConfigError(
      `\`${within(text, 200)}\` has a \`\${\` that no \`}\` closes. Close it, or write \`$\${\` for the characters themselves.`,
      configPath,
    );
  return open[0]!;
}

function joined(parts: Parts, values: Values, configPath: string, depth: number): string {
  return parts
    .map((part) => {
      if (typeof part === 'string') return part;
      const value = resolved(part.reference, values, configPath, depth);
      if (typeof value !== 'object') return String(value);
      throw new CheckpointConfigError(
        `\`\${${joined(part.reference, values, configPath, depth)}}\` is ${value === null ? 'null' : Array.isArray(value) ? 'a list' : 'a mapping'}, which cannot be a part of a text.`,
        configPath,
      );
    })
    .join('');
}

/** What a reference stands for; a list or mapping of the document is one, too. */
function resolved(parts: Parts, values: Values, configPath: string, depth: number): unknown {
  const { environment, parameters, root, budget } = values;
  spend(budget, 1, configPath);
  const reference = joined(parts, values, configPath, depth);
  if (reference.startsWith('param.')) {
    const name = reference.slice('param.'.length);
    const value = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
    values.used?.add(name);
    if (value !== undefined) return value;
    throw new CheckpointConfigError(
      `\`\${${reference}}\` needs \`--param ${name}=…\`.${didYouMean(name, Object.keys(parameters))}`,
      configPath,
    );
  }
  // `${oc.env:NAME}` and `${oc.env:NAME,default}` are OmegaConf's way to say it; `oc.decode` makes of a text what it says.
  const decoded = /^oc\.decode:(.*)$/s.exec(reference)?.[1]?.trim();
  if (decoded !== undefined) return decoded;
  const omega = /^oc\.env:\s*([A-Za-z_]\w*)\s*(?:,(.*))?$/s.exec(reference);
  const bare = /^[A-Za-z_]\w*$/.test(reference) && !isIn(root, reference) ? reference : undefined;
  const name = omega?.[1] ?? bare;
  if (name !== undefined) {
    if (SECRET.test(name))
      throw new CheckpointConfigError(
        `\`\${${reference}}\` looks like a credential. Values of a document go into the run's history; set ${name} in the environment of the worker, which finds it there by itself.`,
        configPath,
      );
    const value = (Object.hasOwn(environment, name) ? environment[name] : undefined) ?? defaultOf(omega?.[2]);
    if (value !== undefined) return value;
    // Not those that are merely a part of the name: PATH would be near to every …_PATH.
    const near = Object.keys(environment).filter((each) => !SECRET.test(each) && (!name.includes(each) || name.length - each.length <= 2));
    throw new CheckpointConfigError(`The environment variable ${name} is not set.${didYouMean(name, near)}`, configPath);
  }
  const found = /^[\w-]+(\.[\w-]+|\[\d+\])*$/.test(reference)
    ? inDocument(
        root,
        reference.split(/[.[\]]+/).filter((step) => step !== ''),
      )
    : undefined;
  refuseMandatory(found, reference, configPath);
  if (found !== undefined && found !== null) {
    // What is found is gone through again wherever it is referred to.
    if (typeof found === 'object') spend(budget, JSON.stringify(found).length / 100, configPath);
    return interpolate(found, values, configPath, depth + 1);
  }
  throw new CheckpointConfigError(unknownReference(reference), configPath);
}

/** What is wrong with one that nothing stands for, and what to write instead. */
function unknownReference(given: string): string {
  const reference = within(given, 100);
  const characters = 'Write `$${` for the characters themselves.';
  if (given.startsWith('item.'))
    return `\`\${${reference}}\` stands for a value of an item, and only the \`pipeline\` of a batch knows items. ${characters}`;
  if (given.startsWith('.'))
    return `\`\${${reference}}\` counts from the place where it stands, which is not understood. Write the path from the root of the document, such as \`\${hardware.paths.output}\`.`;
  if (given.startsWith('oc.env:'))
    return `\`\${${reference}}\`: behind \`oc.env:\` stands the name of a variable, of letters, digits and \`_\`, and behind that perhaps \`,\` and a default.`;
  const resolver = /^([\w.]+):/.exec(given)?.[1];
  if (resolver !== undefined) return `\`\${${reference}}\`: the resolver \`${resolver}\` is not understood. ${insteadOf(resolver, given)}`;
  return `\`\${${reference}}\` is neither an environment variable (\`\${NAME}\`), nor a parameter (\`\${param.name}\`), nor the place of a value in this document. ${characters}`;
}

/** What OmegaConf's and Hydra's own do, in what is understood here. */
function insteadOf(resolver: string, reference: string): string {
  const from = /^oc\.select:\s*([\w.[\]-]+)/.exec(reference)?.[1];
  if (from !== undefined)
    return `Write the path of the value, \`\${${within(from, 100)}}\`, or \`\${oc.env:NAME,default}\` for a variable with a default.`;
  if (resolver === 'now') return 'Give the time as a parameter: `${param.day}` with `--param day="$(date +%F)"`.';
  return 'Known are `${oc.env:NAME}`, `${oc.env:NAME,default}` and `${oc.decode:…}`; give what others come to as a parameter, `${param.name}`.';
}

function spend(budget: Values['budget'], references: number, configPath: string): void {
  budget.left -= references;
  if (budget.left < 0)
    throw new CheckpointConfigError(`The document takes more than ${MOST_REFERENCES} references to resolve.`, configPath);
}

/** As OmegaConf reads it: without the spaces and quotes around it; `null` is not a value. */
function defaultOf(given: string | undefined): string | null | undefined {
  if (given === undefined) return undefined;
  const text = given.trim();
  const quoted = /^(["'])(.*)\1$/s.exec(text);
  return quoted === null ? (text === 'null' ? null : text) : quoted[2]!;
}

/** Whether the document itself has a value of that name at its root. */
export function isIn(root: unknown, key: string): boolean {
  return typeof root === 'object' && root !== null && Object.hasOwn(root, key);
}

function inDocument(root: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined,
    root,
  );
}

/** A value that is nothing but a reference may be meant as a boolean or number. */
function scalar(value: unknown, { as }: Values): unknown {
  if (as === 'text') return typeof value === 'number' || typeof value === 'boolean' ? String(value) : value;
  if (value === 'true' || value === 'false') return value === 'true';
  if (as === 'number') return numberIn(value) ?? value;
  return typeof value === 'string' && /^-?\d[\d.]*$/.test(value) && String(Number(value)) === value ? Number(value) : value;
}
