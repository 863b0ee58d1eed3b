/** Settings of a pipeline and of the run, which Anemoi has in several places and forms. */
import { CheckpointConfigError } from '../../errors.ts';
import { isMapping, type Mapping } from '../../model/json.ts';
import { didYouMean } from '../../model/suggestions.ts';
import { booleanNamed } from '../../model/yaml-booleans.ts';
import { shown } from '../shown.ts';

export const ASYNCHRONOUS = '`async_execution` is accepted and changes nothing: execution is always asynchronous.';
export const ANEMOI_SETTINGS = ['async_execution', 'continue_on_error', 'cache_dir', 'max_retries', 'timeout'];
/** Of ours, which say as much in its form. */
const OUR_SETTINGS = ['name', 'retry', 'on_error', 'report', 'workspace'];
export const BLOCKS = ['source', 'loading', 'modifiers'];
export const PIPELINE_SETTINGS = ['stages', ...ANEMOI_SETTINGS, ...OUR_SETTINGS];
export const BLOCK_SETTINGS = [...BLOCKS, ...ANEMOI_SETTINGS, ...OUR_SETTINGS];
/** How Hydra would make an object of a mapping: nothing is made here. */
export const HYDRA_KEYS = ['_convert_', '_recursive_', '_partial_'];
/** Keys of ours that go with any form: where the run's checkpoint lies, what it must fit, where to publish. */
export const RUN_KEYS = ['checkpoint_path', 'target', 'output'] as const;

/** A value for each of them that is given. */
export type RunKeys = Readonly<Partial<Record<(typeof RUN_KEYS)[number], unknown>>>;

/** What a location says once its references are resolved. */
export type Resolve = (text: string, configPath: string) => string;

export function runKeys(given: Mapping, parameters: Readonly<Record<string, string>>): RunKeys {
  const training = isMapping(given['training']) ? given['training'] : {};
  const entries = RUN_KEYS.map(
    (key) => [key, given[key] ?? (key === 'checkpoint_path' ? training[key] : undefined) ?? parameters[key]] as const,
  );
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined && value !== null));
}

/** Settings of ours at the root of an Anemoi configuration, which has many other keys there. */
export function ofRoot(given: Mapping): Mapping {
  const ours = ['max_retries', 'timeout', 'continue_on_error', ...OUR_SETTINGS];
  return Object.fromEntries(Object.entries(given).filter(([key]) => ours.includes(key)));
}

/** Settings of a pipeline; what has no effect here becomes a note. */
export function settingsOf(given: unknown, known: readonly string[], at: string, notes: string[]): Mapping {
  if (!isMapping(given)) throw new CheckpointConfigError(`\`${at}\` must be a mapping.`, at);
  const kept: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(given)) {
    // Beside the settings it names a class of Anemoi that would take them.
    if (key === '_target_' || HYDRA_KEYS.includes(key)) continue;
    if (!known.includes(key))
      throw new CheckpointConfigError(
        `\`${at}\` has no setting \`${key}\`.${didYouMean(key, known)} It knows: ${known.join(', ')}.`,
        `${at}.${key}`,
      );
    if (value === null) continue;
    if (key === 'async_execution') notes.push(ASYNCHRONOUS);
    else if (key === 'cache_dir') notes.push('`cache_dir` is accepted and changes nothing: no source keeps a copy.');
    else kept[key] = value;
  }
  return kept;
}

/** What Anemoi's reader of YAML takes for a boolean, also where a reference says it; undefined: it is left out. */
export function flagIn(mapping: Mapping, key: string, at: string, resolve: Resolve): boolean | undefined {
  const given = mapping[key];
  const place = `${at}.${key}`;
  const value = typeof given === 'string' ? resolve(given, place) : given;
  if (value === undefined || value === null) return undefined;
  const flag = typeof value === 'boolean' ? value : booleanNamed(value);
  if (flag !== undefined) return flag;
  throw new CheckpointConfigError(`\`${place}\` is true or false; got ${shown(given)}.`, place);
}

/** Where the setting is there, Anemoi's own defaults count for what it leaves out; without it both are off. */
export function refreshFlags(training: Mapping | undefined, resolve: Resolve): Readonly<Record<string, boolean>> {
  const key = 'update_ds_stats_on_ckpt_load';
  const flags = training?.[key];
  if (flags === undefined || flags === null) return {};
  if (!isMapping(flags))
    throw new CheckpointConfigError(
      `\`training.${key}\` is a mapping of \`states\` and \`tendencies\`; got ${shown(flags)}.`,
      `training.${key}`,
    );
  const states = flagIn(flags, 'states', `training.${key}`, resolve) ?? false;
  const tendencies = flagIn(flags, 'tendencies', `training.${key}`, resolve) ?? true;
  return { ...(states ? { refresh_states: true } : {}), ...(tendencies ? { refresh_tendencies: true } : {}) };
}
