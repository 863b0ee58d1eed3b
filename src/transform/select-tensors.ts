/** Which planned tensors are published, by globs over their names. Pure, O(names × globs). */
import { CheckpointIncompatibleError } from '../errors.ts';
import type { LeftOut, Plan, PlannedTensor } from '../model/plan.ts';
import { didYouMean } from '../model/suggestions.ts';
import { withFrozen } from './frozen.ts';
import { compileGlob, slices } from './patterns.ts';
import { staleState } from './stale-state.ts';

export interface Chosen {
  readonly plan: Plan;
  readonly removed: number;
  readonly warnings: readonly string[];
}

/** Keeps what some `include` and no `exclude` fits; throws `CheckpointIncompatibleError` where nothing is left. Yields where others are to be let in. */
export function* chooseTensors(
  plan: Plan,
  globs: { readonly include: readonly string[]; readonly exclude: readonly string[] },
  configPath: string,
): Generator<void, Chosen> {
  const used = new Set<string>();
  const compiled = (list: 'include' | 'exclude') =>
    globs[list].map((glob, index) => ({ what: `${list} \`${glob}\``, test: compileGlob(glob, `${configPath}.${list}[${index}]`) }));
  const [include, exclude] = [compiled('include'), compiled('exclude')];
  const isTime = slices(
    [...include, ...exclude].map(({ test }) => test),
    configPath,
  );
  const anyOf = (tests: typeof include): ((name: string) => boolean) => {
    return (name) => {
      let fits = false;
      for (const { what, test } of tests) {
        if (!test(name)) continue;
        fits = true;
        used.add(what);
      }
      return fits;
    };
  };
  const [included, excluded] = [anyOf(include), anyOf(exclude)];
  const gone: LeftOut[] = [];
  const kept: PlannedTensor[] = [];
  for (const tensor of plan.tensors) {
    const { name } = tensor;
    if (isTime(name)) yield;
    if (included(name) && !excluded(name)) kept.push(tensor);
    else gone.push({ what: name, reason: 'not_selected' });
  }
  // The same list where nothing goes: so it is written once.
  const tensors = gone.length === 0 ? plan.tensors : kept;
  if (tensors.length === 0 && plan.tensors.length > 0) {
    const names = plan.tensors.slice(0, 1000).map(({ name }) => name);
    const hint = firstHint(globs.include, names);
    throw new CheckpointIncompatibleError(
      `No tensor is left: include ${globs.include.join(', ')}${globs.exclude.length === 0 ? '' : `, exclude ${globs.exclude.join(', ')}`}.${hint}`,
      { details: { reason: 'nothing_selected', include: globs.include, exclude: globs.exclude, names: names.slice(0, 5) } },
    );
  }
  const goneNames = new Set(gone.map(({ what }) => what));
  const all = [...globs.include.map((glob) => `include \`${glob}\``), ...globs.exclude.map((glob) => `exclude \`${glob}\``)];
  return {
    plan: withFrozen(
      { ...plan, tensors, skipped: gone.length === 0 ? plan.skipped : [...plan.skipped, ...gone] },
      gone.length === 0 ? plan.frozen : plan.frozen.filter((name) => !goneNames.has(name)),
    ),
    removed: gone.length,
    warnings: [
      ...all.filter((glob) => !used.has(glob)).map((glob) => `${glob} fits no name.`),
      ...staleState(plan, gone.length, 'left out'),
    ],
  };
}

/** Each glob takes as many comparisons as there are names. */
function firstHint(include: readonly string[], names: readonly string[]): string {
  for (const glob of include.slice(0, 10)) {
    const hint = didYouMean(glob, names);
    if (hint !== '') return hint;
  }
  return '';
}
