/** One stage as a document has it → one of ours: its type, and what Anemoi takes from the run instead. */
import { CheckpointConfigError } from '../../errors.ts';
import { formatNamed } from '../../model/header.ts';
import { isMapping, type Mapping } from '../../model/json.ts';
import type { Tell } from '../all-problems.ts';
import { plainStage, type Readings } from '../plain-document.ts';
import { shown } from '../shown.ts';
import { stageHint } from '../stage-hint.ts';
import { isLoader } from '../stage-kinds.ts';
import { HYDRA_KEYS, type RunKeys } from './settings.ts';
import { typeOfTarget } from './targets.ts';

/** What stages are understood with. */
export interface Surroundings extends Readings {
  /** `--param`: fill the run's own keys where the document leaves them out. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Takes what is wrong with a stage, for whoever goes on without it; left out, it is thrown. */
  readonly tell?: Tell;
}

/** One stage with its type as ours is; options are left as they are. */
export function stageOf(given: unknown, origin: string, surroundings: Surroundings): Mapping {
  if (!isMapping(given))
    throw new CheckpointConfigError(
      `A stage must be a mapping with a \`type\` or \`_target_\`; got ${shown(given)}.${stageHint(given)}`,
      origin,
    );
  const { _target_: target, type, ...all } = given;
  // An option that is null counts as left out, as Anemoi's defaults are written; Hydra's own keys make nothing here.
  const options = Object.fromEntries(Object.entries(all).filter(([key, value]) => value !== null && !HYDRA_KEYS.includes(key)));
  if ('source' in options && target === undefined && type === undefined) return plainStage(options, origin, surroundings);
  if (target !== undefined && type !== undefined)
    throw new CheckpointConfigError(`A stage has either \`_target_\` or \`type\`, not both: ${shown(given)}.`, origin);
  if (target !== undefined) {
    if (typeof target !== 'string')
      throw new CheckpointConfigError(`\`_target_\` must be a dotted class path: ${shown(given)}.`, `${origin}._target_`);
    return { type: typeOfTarget(target, given, origin), ...options };
  }
  if (type === undefined)
    throw new CheckpointConfigError(
      `A stage has no \`type\` and no \`_target_\`: ${shown(given)}.${stageHint(given)} Run \`ckpt stages\` for the list.`,
      `${origin}.type`,
    );
  if (typeof type !== 'string')
    throw new CheckpointConfigError(`\`type\` must be a text such as \`source.local\`: ${shown(given)}.`, `${origin}.type`);
  return plainStage({ type, ...options }, origin, surroundings);
}

/** What Anemoi takes from the run instead of from the stage, and its aliases. */
export function completed(stage: Mapping, given: Mapping, run: RunKeys, flags: Readonly<Record<string, boolean>>, origin: string): Mapping {
  const type = String(stage['type']);
  if (type === 'source.local' && stage['path'] === undefined && stage['uri'] === undefined) {
    // A document of ours is checked by the stage itself, its other options first.
    if (run.checkpoint_path === undefined && origin.startsWith('stages[')) return stage;
    if (run.checkpoint_path === undefined)
      throw new CheckpointConfigError(
        'source.local has no `path` and the run has no `checkpoint_path`. Write one of them, or give `--param checkpoint_path=…`.',
        `${origin}.path`,
      );
    return { ...stage, path: run.checkpoint_path };
  }
  if (type === 'source.s3') return s3(stage, given, origin);
  if (isLoader(type)) return { ...flags, ...(run.target === undefined ? {} : { target: run.target }), ...stage };
  return stage;
}

/** `bucket` and `key` for `url`; without any of them, the configuration's own `url`. */
function s3({ bucket, key, ...stage }: Mapping, given: Mapping, origin: string): Mapping {
  if (bucket === undefined && key === undefined) {
    if ((stage['url'] ?? stage['uri'] ?? null) !== null || typeof given['url'] !== 'string') return stage;
    return { ...stage, url: given['url'] };
  }
  if ((stage['url'] ?? null) !== null)
    throw new CheckpointConfigError(
      'Give `url`, or its alias `bucket` with `key`, not both.',
      `${origin}.${bucket === undefined ? 'key' : 'bucket'}`,
    );
  if (typeof bucket !== 'string' || typeof key !== 'string')
    throw new CheckpointConfigError(
      '`bucket` and `key` go together, both as text.',
      `${origin}.${typeof bucket === 'string' ? 'key' : 'bucket'}`,
    );
  return { ...stage, url: `s3://${bucket}/${key.replace(/^\/+/, '')}` };
}

/** The run's output, in the format that its name says. */
export function publishing(output: unknown, { resolve = (text) => text }: Surroundings): Mapping {
  const format = typeof output === 'string' ? formatNamed(resolve(output, 'output')) : 'safetensors';
  // What the stage takes by itself is not written out: documents stay as they are.
  return { type: 'sink.publish', uri: output, ...(format === 'safetensors' ? {} : { format }) };
}
