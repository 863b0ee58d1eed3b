/** One stage as a document has it → one of ours: its type, and what Anemoi takes from the run instead. */
import { CheckpointConfigError } from '../../errors.ts';
import { formatNamed } from '../../model/header.ts';
import { isMapping, type Mapping } from '../../model/json.ts';
import { schemeOf } from '../../model/scheme.ts';
import { didYouMean } from '../../model/suggestions.ts';
import { isLoader } from '../stage-kinds.ts';
import { typeOfName, typeOfTarget } from './names.ts';
import { HYDRA_KEYS, type Resolve, type RunKeys } from './settings.ts';
import { shown } from './shown.ts';

export interface Draft {
  readonly stage: unknown;
  /** Where it stands in the given document. */
  readonly origin: string;
}

/** What stages are understood with. */
export interface Surroundings {
  /** Stage types of the catalog, plug-ins included: short names of all of them are understood. */
  readonly types: readonly string[];
  /** `--param`: fill the run's own keys where the document leaves them out. */
  readonly parameters: Readonly<Record<string, string>>;
  /** What a location says once its references are resolved: the scheme of `source: <uri>` decides which stage reads it. */
  readonly resolve?: Resolve;
}

/** One stage with its type as ours is; options are left as they are. */
export function stageOf(given: unknown, origin: string, surroundings: Surroundings): Record<string, unknown> {
  const { types } = surroundings;
  if (!isMapping(given))
    throw new CheckpointConfigError(`A stage must be a mapping with a \`type\` or \`_target_\`; got ${shown(given)}.`, origin);
  const { _target_: target, type, ...all } = given;
  // An option that is null counts as left out, as Anemoi's defaults are written; Hydra's own keys make nothing here.
  const options = Object.fromEntries(Object.entries(all).filter(([key, value]) => value !== null && !HYDRA_KEYS.includes(key)));
  if ('source' in options && target === undefined && type === undefined) return sourceOf(options, origin, surroundings);
  if (target !== undefined && type !== undefined)
    throw new CheckpointConfigError(`A stage has either \`_target_\` or \`type\`, not both: ${shown(given)}.`, origin);
  if (target !== undefined) {
    if (typeof target !== 'string')
      throw new CheckpointConfigError(`\`_target_\` must be a dotted class path: ${shown(given)}.`, `${origin}._target_`);
    return { type: typeOfTarget(target, given, origin), ...options };
  }
  if (type === undefined)
    throw new CheckpointConfigError(
      `A stage has no \`type\` and no \`_target_\`: ${shown(given)}. Run \`ckpt stages\` for the list.`,
      `${origin}.type`,
    );
  if (typeof type !== 'string')
    throw new CheckpointConfigError(`\`type\` must be a text such as \`source.local\`: ${shown(given)}.`, `${origin}.type`);
  if (type.includes('.')) return { type, ...options };
  return { type: typeOfName(type, types, origin), ...options };
}

/** Schemes of `source: <uri>`, each with the stage that reads it and the option that takes the place. */
const SCHEMES: Readonly<Record<string, readonly [type: string, option: string]>> = {
  file: ['source.local', 'path'],
  s3: ['source.s3', 'url'],
  http: ['source.http', 'url'],
  https: ['source.http', 'url'],
};

/** `source: <uri>`, with further options beside it: the scheme says which source it is; without one it is a local path. */
function sourceOf({ source, ...options }: Mapping, origin: string, { resolve = (text) => text }: Surroundings): Record<string, unknown> {
  // At the root and in a block the key is the origin itself.
  const at = /(^|\.)source$/.test(origin) ? origin : `${origin}.source`;
  if (typeof source !== 'string' || source === '')
    throw new CheckpointConfigError(`\`source\` is a path or URI as text; got ${shown(source)}.`, at);
  const scheme = schemeOf(resolve(source, at)) ?? 'file';
  if (!Object.hasOwn(SCHEMES, scheme))
    throw new CheckpointConfigError(
      `No source reads \`${scheme}://\`.${didYouMean(scheme, Object.keys(SCHEMES))} Known: a path without a scheme, ${Object.keys(SCHEMES)
        .map((known) => `${known}://`)
        .join(', ')}.`,
      at,
    );
  const [type, option] = SCHEMES[scheme]!;
  if (option in options)
    throw new CheckpointConfigError(`Give \`source\`, which is short for \`${option}\` of ${type}, or \`${option}\`, not both.`, at);
  return { type, [option]: source, ...options };
}

/** What Anemoi takes from the run instead of from the stage, and its aliases. */
export function completed(
  stage: Record<string, unknown>,
  given: Mapping,
  run: RunKeys,
  flags: Readonly<Record<string, boolean>>,
  origin: string,
): Record<string, unknown> {
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
function s3({ bucket, key, ...stage }: Record<string, unknown>, given: Mapping, origin: string): Record<string, unknown> {
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
export function publishing(output: unknown, { resolve = (text) => text }: Surroundings): Record<string, unknown> {
  const format = typeof output === 'string' ? formatNamed(resolve(output, 'output')) : 'safetensors';
  // What the stage takes by itself is not written out: documents stay as they are.
  return { type: 'sink.publish', uri: output, ...(format === 'safetensors' ? {} : { format }) };
}
