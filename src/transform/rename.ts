/** New names for planned tensors: a prefix stripped, ordered regular-expression rules, a prefix added. Pure, O(names × rules). */
import { CheckpointConfigError, CheckpointIncompatibleError } from '../errors.ts';
import type { LeftOut, Plan, PlannedTensor } from '../model/plan.ts';
import { textPlaces } from '../model/text-places.ts';
import { topLevelKeys } from '../model/tree.ts';
import { withFrozen } from './frozen.ts';
import { attributesWithPrefixes, withPrefixes } from './module-paths.ts';
import { compileReplacement, LONGEST_NAME, slices, type Replacement } from './patterns.ts';
import { staleState } from './stale-state.ts';

export interface RenameRules {
  readonly stripPrefix?: string | undefined;
  readonly rules: readonly { readonly pattern: string; readonly replacement: string }[];
  readonly addPrefix?: string | undefined;
}

export interface Renamed {
  readonly plan: Plan;
  /** How many names changed. */
  readonly count: number;
  readonly warnings: readonly string[];
}

/** Throws `CheckpointIncompatibleError` where two names become one; `configPath` is that of the stage. Yields where others are to be let in. */
export function* renameTensors(plan: Plan, rules: RenameRules, configPath: string): Generator<void, Renamed> {
  const steps = stepsOf(rules, configPath);
  const isTime = slices(steps, configPath);
  const used = new Set<string>();
  const rename = (name: string): string => {
    let current = name;
    for (const { what, fits, apply } of steps) {
      const next = apply(current);
      // Whether a rule fits is asked once; from then on a name costs it one pass.
      if (!used.has(what) && (next !== current || fits(current))) used.add(what);
      current = next;
      // Replacements may repeat what they matched, rule after rule.
      if (current.length > LONGEST_NAME)
        throw new CheckpointConfigError(
          `${what} makes a name of ${current.length} characters of ${name.slice(0, 200)}; the limit is ${LONGEST_NAME}.`,
          configPath,
        );
    }
    return current;
  };
  let count = 0;
  const tensors: PlannedTensor[] = [];
  for (const tensor of plan.tensors) {
    if (isTime(tensor.name)) yield;
    const next = rename(tensor.name);
    if (next === '')
      throw new CheckpointIncompatibleError(`The rules leave nothing of the name ${tensor.name}.`, {
        details: { reason: 'empty_name', name: tensor.name },
      });
    const { dtype, shape, origin } = tensor;
    if (next === tensor.name) tensors.push(tensor);
    else {
      tensors.push({ name: next, dtype, shape, origin });
      count++;
    }
  }
  refuseTwins(plan.tensors, tensors, 'Leave one of them out with modifier.select, or make the rules tell them apart.');
  const frozen: string[] = [];
  for (const name of plan.frozen) {
    if (isTime(name)) yield;
    frozen.push(rename(name));
  }
  return {
    plan: withFrozen({ ...withAttributes(plan, rules), tensors }, frozen),
    count,
    warnings: [
      ...(plan.tensors.length === 0 ? [] : steps.filter(({ what }) => !used.has(what)).map(({ what }) => `${what} fits no name.`)),
      ...staleState(plan, count, 'renamed'),
    ],
  };
}

/** Attributes of the state dict name modules by their paths, of which a pattern for tensors' names says nothing. */
function withAttributes({ stateDictAttributes, ...plan }: Plan, rules: RenameRules): Plan {
  if (stateDictAttributes === undefined) return plan;
  if (rules.rules.length === 0) return { ...plan, stateDictAttributes: attributesWithPrefixes(stateDictAttributes, rules) };
  const reason = 'it names modules by their paths before the rules of modifier.rename';
  return { ...plan, dropped: [...plan.dropped, ...topLevelKeys(stateDictAttributes).map((what): LeftOut => ({ what, reason }))] };
}

/** Throws `CheckpointIncompatibleError` where two names become one; both lists are in the same order. */
export function refuseTwins(
  before: readonly { readonly name: string }[],
  after: readonly { readonly name: string }[],
  advice: string,
): void {
  const places = textPlaces(after.length);
  const twin = after.findIndex(({ name }, index) => places.add(name, index) !== undefined);
  if (twin === -1) return;
  const { name: next } = after[twin]!;
  const { name } = before[twin]!;
  const other = before[places.get(next)!]!.name;
  throw new CheckpointIncompatibleError(`${other} and ${name} would both be named ${next}. ${advice}`, {
    details: { reason: 'rename_collision', names: [other, name], name: next },
  });
}

interface Step extends Replacement {
  readonly what: string;
}

function stepsOf({ stripPrefix, rules, addPrefix }: RenameRules, configPath: string): readonly Step[] {
  const steps: Step[] = [];
  if (stripPrefix !== undefined)
    steps.push({
      what: `strip_prefix \`${stripPrefix}\``,
      cost: 0,
      fits: (name) => name.startsWith(stripPrefix),
      apply: (name) => withPrefixes(name, { stripPrefix }),
    });
  for (const [index, { pattern, replacement }] of rules.entries())
    steps.push({
      what: `rules[${index}] \`${pattern}\``,
      ...compileReplacement(pattern, replacement, `${configPath}.rules[${index}].pattern`),
    });
  if (addPrefix !== undefined)
    steps.push({ what: `add_prefix \`${addPrefix}\``, cost: 0, fits: () => true, apply: (name) => addPrefix + name });
  return steps;
}
