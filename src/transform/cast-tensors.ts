/** Dtypes of planned tensors by glob; the values are converted while they are published. Pure, O(names × globs). */
import type { JsonObject } from '../errors.ts';
import { dtypeKind, isCastable, type Dtype } from '../model/dtype.ts';
import type { Plan, PlannedTensor } from '../model/plan.ts';
import { compileGlob, slices } from './patterns.ts';

export interface CastRule {
  /** Glob over names. */
  readonly names: string;
  readonly dtype: Dtype;
}

export interface Recast {
  readonly plan: Plan;
  readonly casts: readonly JsonObject[];
  /** Matched tensors that are not floats (indices, masks, counters): they keep their dtype. */
  readonly left: number;
  readonly warnings: readonly string[];
}

/** The first rule that fits a name decides; always from the source's own values, whatever an earlier rule made of them. Yields where others are to be let in. */
export function* castTensors(plan: Plan, rules: readonly CastRule[], configPath: string): Generator<void, Recast> {
  const tests = rules.map(({ names, dtype }, index) => ({ names, dtype, test: compileGlob(names, `${configPath}.rules[${index}].names`) }));
  const isTime = slices(
    tests.map(({ test }) => test),
    configPath,
  );
  const used = new Set<string>();
  const casts: JsonObject[] = [];
  let left = 0;
  const recast = (tensor: PlannedTensor): PlannedTensor => {
    const rule = tests.find(({ test }) => test(tensor.name));
    if (rule === undefined) return tensor;
    used.add(rule.names);
    if (rule.dtype === tensor.dtype) return tensor;
    if (dtypeKind(tensor.dtype) !== 'float' || !isCastable(tensor.origin.dtype, rule.dtype)) {
      left++;
      return tensor;
    }
    casts.push({ name: tensor.name, from: tensor.origin.dtype, to: rule.dtype });
    return { ...tensor, dtype: rule.dtype };
  };
  const tensors: PlannedTensor[] = [];
  for (const tensor of plan.tensors) {
    if (isTime(tensor.name)) yield;
    tensors.push(recast(tensor));
  }
  return {
    plan: { ...plan, tensors },
    casts,
    left,
    warnings: rules.filter(({ names }) => !used.has(names)).map(({ names }) => `cast \`${names}\` fits no name.`),
  };
}
