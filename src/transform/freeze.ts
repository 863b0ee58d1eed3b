/**
 * Freezing by module path: which parameters whoever loads the file should not train. Weights stay as they are; no file format
 * keeps the flag, so the names go into plan, manifest and the published file's metadata. Names that are one tensor are frozen
 * together and count once, as in a model that ties them. Pure, O(names).
 */
import { CheckpointConfigError, type JsonObject } from '../errors.ts';
import { dtypeKind, type Dtype } from '../model/dtype.ts';
import type { Plan } from '../model/plan.ts';
import { nearNames } from '../model/suggestions.ts';
import type { Target, TargetTensor } from '../model/target.ts';
import { withFrozen } from './frozen.ts';
import { tiesOf } from './ties.ts';

/** What batch normalisation keeps beside its parameters. */
const BUFFER_NAMES = /(^|\.)(running_mean|running_var|num_batches_tracked)$/;

/** Paths for which near spellings are looked for: each look costs as many comparisons as there are modules. */
const MOST_SUGGESTED = 20;

export interface Frozen {
  readonly plan: Plan;
  /** What `modifiers_applied` says of it; absent for an empty list. */
  readonly entry?: JsonObject;
  readonly newlyFrozen: number;
  readonly warnings: readonly string[];
}

interface FreezeRules {
  /** Full dotted paths from the model's root; empty text: the whole model. */
  readonly submodules: readonly string[];
  /** Put in front of every path if any name of the model begins with it. */
  readonly prefix?: string;
  readonly strict: boolean;
  readonly validateGradients: boolean;
}

/** With `strict` throws `CheckpointConfigError` naming all paths that are not modules, before anything is frozen. */
export function freezeModules(plan: Plan, target: Target | undefined, given: FreezeRules, configPath: string): Frozen {
  if (given.submodules.length === 0) return { plan, newlyFrozen: 0, warnings: [] };
  const model = namesOf(plan, target);
  const { names } = model;
  const rules = prefixed(given, names);
  const missing = [...new Set(rules.submodules.filter((path) => !isModule(path, names)))];
  // All of a model's paths are many: they are looked for where there is something to suggest.
  const modules: ReadonlySet<string> = missing.length === 0 ? new Set() : modulePaths(names);
  const suggestions: Readonly<Record<string, readonly string[]>> = Object.fromEntries(
    missing.slice(0, MOST_SUGGESTED).map((path) => [path, similarModules(path, modules)]),
  );
  if (rules.strict && missing.length > 0) {
    const said = missing.slice(0, 5).map((path) => `${path}${suggested(suggestions[path] ?? [])}`);
    throw new CheckpointConfigError(
      `${missing.length === 1 ? 'A submodule' : `${missing.length} submodules`} to freeze cannot be found: ${said.join('; ')}. Give full dotted paths from the model's root.`,
      configPath,
      { details: { missing_submodules: missing, suggestions } },
    );
  }
  const before = new Set(plan.frozen);
  const isFrozen = names.map((name) => before.size > 0 && before.has(name));
  const found = rules.submodules.filter((path) => !missing.includes(path));
  const frozenModules = found.map((name) => {
    const inside = subtree(name);
    let newly = 0;
    for (let index = 0; index < names.length; index++) {
      if (isFrozen[index] || !model.isParameter[index] || !names[index]!.startsWith(inside)) continue;
      for (const tied of model.ties.get(index) ?? [index]) isFrozen[tied] = true;
      newly++;
    }
    return { name, frozen_params: newly };
  });
  const newlyFrozen = frozenModules.reduce((sum, { frozen_params: newly }) => sum + newly, 0);
  const subtrees = found.map(subtree);
  const trainable = rules.validateGradients
    ? names.filter((name, index) => model.isParameter[index] && !isFrozen[index] && subtrees.some((inside) => name.startsWith(inside)))
    : [];
  return {
    plan: withFrozen(
      plan,
      names.filter((_, index) => isFrozen[index]),
    ),
    newlyFrozen,
    entry: {
      type: 'freezing',
      submodules: rules.submodules,
      frozen_modules: frozenModules,
      total_frozen_params: newlyFrozen,
      ...(missing.length === 0 ? {} : { missing_submodules: missing }),
    },
    warnings: [
      ...missing.map((path) => `There is no submodule ${path} to freeze${suggested(suggestions[path] ?? [])}.`),
      ...(trainable.length === 0 ? [] : [`${trainable.length} parameters under frozen paths are still trainable.`]),
    ],
  };
}

function prefixed(rules: FreezeRules, names: Iterable<string>): FreezeRules {
  const { prefix, submodules } = rules;
  if (prefix === undefined || prefix === '') return rules;
  // Of the whole model it is the module itself.
  const behind = (path: string): string => (path === '' ? prefix.replace(/\.$/, '') : prefix + path);
  for (const name of names) if (name.startsWith(prefix)) return { ...rules, submodules: submodules.map(behind) };
  return rules;
}

/** What all names under a path begin with. */
function subtree(path: string): string {
  return path === '' ? '' : `${path}.`;
}

function isModule(path: string, names: Iterable<string>): boolean {
  if (path === '') return true;
  const inside = subtree(path);
  for (const name of names) if (name.startsWith(inside)) return true;
  return false;
}

interface Model {
  readonly names: readonly string[];
  readonly isParameter: readonly boolean[];
  readonly ties: ReadonlyMap<number, readonly number[]>;
}

/** All names of the model, target's first, whether each is a parameter, and which are one. */
function namesOf(plan: Plan, target: Target | undefined): Model {
  const known = new Set(target?.tensors.map(({ name }) => name));
  const others = known.size === 0 ? plan.tensors : plan.tensors.filter(({ name }) => !known.has(name));
  const tensors: readonly Pick<TargetTensor, 'name' | 'dtype' | 'buffer'>[] =
    target === undefined ? others : [...target.tensors, ...others];
  return {
    names: tensors.map(({ name }) => name),
    isParameter: tensors.map(({ name, dtype, buffer }) => !(buffer ?? looksLikeBuffer(name, dtype))),
    // Storages of target and plan count each from 0, and a target's spec says of none which are one.
    ties: target === undefined ? tiesOf(others, plan.storages.length) : tiesOf(target.tensors, target.storages.length),
  };
}

function looksLikeBuffer(name: string, dtype: Dtype): boolean {
  const kind = dtypeKind(dtype);
  return kind === 'integer' || kind === 'bool' || BUFFER_NAMES.test(name);
}

/** Every proper dotted prefix of a name is a module. */
function modulePaths(names: Iterable<string>): ReadonlySet<string> {
  const modules = new Set<string>();
  for (const name of names) {
    // From the end: once a prefix is known, so are all shorter ones.
    for (let at = name.lastIndexOf('.'); at > 0; at = name.lastIndexOf('.', at - 1)) {
      const path = name.slice(0, at);
      if (modules.has(path)) break;
      modules.add(path);
    }
  }
  return modules;
}

/** Paths that end in the wanted name, then near spellings. */
function similarModules(wanted: string, modules: ReadonlySet<string>): readonly string[] {
  const endings = [...modules].filter((path) => path.endsWith(`.${wanted}`)).slice(0, 3);
  return endings.length > 0 ? endings : nearNames(wanted, [...modules].slice(0, 5000));
}

function suggested(paths: readonly string[]): string {
  return paths.length === 0 ? '' : ` (did you mean ${paths.join(', ')}?)`;
}
