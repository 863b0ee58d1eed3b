/** What `training` said before there were pipelines: flags, ids and folders. */
import { CheckpointConfigError } from '../../errors.ts';
import { isMapping, type Mapping } from '../../model/json.ts';
import { schemeOf } from '../../model/scheme.ts';
import { refuseMandatory } from '../mandatory.ts';
import type { Draft } from '../plain-document.ts';
import { flagIn, type Resolve } from './settings.ts';

interface LegacySurroundings {
  readonly resolve: Resolve;
  /** Where the run's checkpoint lies, if that is said: it goes before what follows from ids and folders. */
  readonly checkpointPath: unknown;
}

/** None where nothing of it is said. */
export function legacyStages(given: Mapping, training: Mapping, surroundings: LegacySurroundings): readonly Draft[] {
  const { resolve } = surroundings;
  const place = legacyPath(given, training, surroundings);
  const source: readonly Draft[] = [
    { stage: { type: 'local', ...(place === undefined ? {} : { path: place.path }) }, origin: place?.origin ?? 'training' },
  ];
  const freeze = training['submodules_to_freeze'];
  const freezing: readonly Draft[] =
    freeze === undefined || freeze === null || (Array.isArray(freeze) && freeze.length === 0)
      ? []
      : [{ stage: { type: 'freezing', submodules_to_freeze: freeze, prefix: 'model.model.' }, origin: 'training.submodules_to_freeze' }];
  const transfers = flagIn(training, 'transfer_learning', 'training', resolve) === true;
  if (flagIn(training, 'load_weights_only', 'training', resolve) === true) {
    const type = transfers ? 'transfer_learning' : 'weights_only';
    return [...source, { stage: { type }, origin: 'training.load_weights_only' }, ...freezing];
  }
  if (place !== undefined) return [...source, { stage: { type: 'warm_start' }, origin: place.origin }, ...freezing];
  if (freezing.length > 0)
    throw new CheckpointConfigError(
      '`submodules_to_freeze` alone freezes a model that nothing was loaded into: there is no checkpoint to publish. Add `load_weights_only`, `run_id` or `fork_run_id`.',
      'training.submodules_to_freeze',
    );
  return [];
}

/**
 * A warm-start file of its own, or else `last.ckpt` in the folder of the run. A bare file name is, as it was once, one in that folder.
 */
function legacyPath(
  given: Mapping,
  training: Mapping,
  { resolve, checkpointPath }: LegacySurroundings,
): { readonly path: string; readonly origin: string } | undefined {
  const at = (...path: readonly string[]): string | undefined => {
    const value = path.reduce<unknown>((each, key) => (isMapping(each) ? each[key] : undefined), given);
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const under = (folder: string, name: string): string => `${folder.replace(/\/+$/, '')}/${name}`;
  /** Of what a path is made of, each with its place. */
  const needed = (...parts: readonly (readonly [value: string | undefined, key: string])[]): void => {
    for (const [value, key] of parts) refuseMandatory(value, key, key);
  };
  const whole = at('system', 'input', 'warm_start');
  const file = at('hardware', 'files', 'warm_start');
  const id = ['fork_run_id', 'run_id'].find((key) => idIn(training, key) !== undefined);
  const isPlace = (text: string): boolean => {
    const place = resolve(text, 'hardware.files.warm_start');
    return /^[/~]/.test(place) || schemeOf(place) !== null;
  };
  if (typeof checkpointPath === 'string' && (id ?? whole ?? file) !== undefined)
    return { path: checkpointPath, origin: id === undefined ? 'checkpoint_path' : `training.${id}` };
  needed([whole, 'system.input.warm_start']);
  if (whole !== undefined) return { path: whole, origin: 'system.input.warm_start' };
  const folder = at('hardware', 'paths', 'warm_start');
  needed([file, 'hardware.files.warm_start']);
  if (file !== undefined) needed([folder, 'hardware.paths.warm_start']);
  if (file !== undefined && (folder !== undefined || id === undefined || isPlace(file)))
    return { path: folder === undefined || isPlace(file) ? file : under(folder, file), origin: 'hardware.files.warm_start' };
  if (id === undefined) return undefined;
  const checkpoints = at('hardware', 'paths', 'checkpoints');
  const runs = checkpoints ?? at('system', 'output', 'checkpoints', 'root');
  needed(
    [idIn(training, id), `training.${id}`],
    [runs, checkpoints === undefined ? 'system.output.checkpoints.root' : 'hardware.paths.checkpoints'],
  );
  if (runs === undefined)
    throw new CheckpointConfigError(
      `\`training.${id}\` names a run, but \`hardware.paths.checkpoints\` does not say where runs lie. Set it, or give \`checkpoint_path\`.`,
      `training.${id}`,
    );
  return { path: under(under(runs, idIn(training, id)!), file ?? 'last.ckpt'), origin: `training.${id}` };
}

/** YAML takes an id of digits for a number. */
function idIn(training: Mapping, key: string): string | undefined {
  const id = training[key];
  return typeof id === 'string' && id !== '' ? id : typeof id === 'number' ? String(id) : undefined;
}
