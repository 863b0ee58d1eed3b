/**
 * Anemoi's configuration as it stands → our document: `training.checkpoint_pipeline.stages` with `_target_`, the blocks of
 * `training.checkpoint`, the legacy keys of `training`, and short names in a bare `stages:`. Pure and workflow-safe.
 *
 * Invariant: `_target_` is looked up in a closed table and never names code; whatever is not understood is an error with a
 * did-you-mean, or, where it changes nothing, a note.
 */
import { CheckpointConfigError, withoutUserInfo, type Json } from '../errors.ts';
import { formatNamed } from '../model/header.ts';
import { isMapping } from '../model/json.ts';
import { schemeOf } from '../model/scheme.ts';
import { didYouMean } from '../model/suggestions.ts';
import { refuseMandatory } from './mandatory.ts';
import { isLoader, isSink, STAGE_KINDS } from './stage-kinds.ts';

const ROOT = 'anemoi.training.checkpoint';

interface KnownClass {
  readonly type: string;
  readonly modules: readonly string[];
  /** Short names. */
  readonly names: readonly string[];
}

const SOURCES = (module: string): readonly string[] => ['sources', `sources.${module}`];
const LOADING = ['loading', 'loading.strategies'];
const FREEZING = { type: 'modifier.freezing', modules: ['modifiers', 'modifiers.freezing'] };

/** Anemoi's classes, and the forms that its documents show although its code rejects them. */
export const ANEMOI_CLASSES: Readonly<Record<string, KnownClass>> = {
  LocalSource: { type: 'source.local', modules: SOURCES('local'), names: ['local'] },
  S3Source: { type: 'source.s3', modules: SOURCES('s3'), names: ['s3'] },
  HTTPSource: { type: 'source.http', modules: SOURCES('http'), names: ['http'] },
  WeightsOnlyLoader: { type: 'loader.weights_only', modules: LOADING, names: ['weights_only'] },
  TransferLearningLoader: { type: 'loader.transfer_learning', modules: LOADING, names: ['transfer_learning'] },
  WarmStartLoader: { type: 'loader.warm_start', modules: LOADING, names: ['warm_start'] },
  ColdStartLoader: { type: 'loader.cold_start', modules: LOADING, names: ['cold_start'] },
  FreezingModifierStage: { ...FREEZING, names: ['freezing_modifier_stage', 'freezing', 'freeze'] },
  FreezingModifier: { ...FREEZING, names: ['freezing_modifier'] },
  FreezeModifier: { ...FREEZING, names: ['freeze_modifier'] },
};

/** Short names of a stage type, and the dotted paths of the classes that mean it. */
export function aliasesOf(type: string): { readonly aliases: readonly string[]; readonly classes: readonly string[] } {
  const classes = Object.entries(ANEMOI_CLASSES).filter(([, known]) => known.type === type);
  return {
    aliases: classes.flatMap(([, { names }]) => names),
    classes: classes.map(([name, { modules }]) => `${ROOT}.${modules[0]}.${name}`),
  };
}

/** Announced by Anemoi, built by nobody yet. */
const ANNOUNCED = /^(lora|lo_ra|quanti[sz]e|prune)(_?modifier)?(_?stage)?$/i;

const ASYNCHRONOUS = '`async_execution` is accepted and changes nothing: execution is always asynchronous.';
const ANEMOI_SETTINGS = ['async_execution', 'continue_on_error', 'cache_dir', 'max_retries', 'timeout'];
/** Of ours, which say as much in its form. */
const OUR_SETTINGS = ['name', 'retry', 'on_error', 'report', 'workspace'];
const BLOCKS = ['source', 'loading', 'modifiers'];
const PIPELINE_SETTINGS = ['stages', ...ANEMOI_SETTINGS, ...OUR_SETTINGS];
const BLOCK_SETTINGS = [...BLOCKS, ...ANEMOI_SETTINGS, ...OUR_SETTINGS];
/** How Hydra would make an object of a mapping: nothing is made here. */
const HYDRA_KEYS = ['_convert_', '_recursive_', '_partial_'];
/** Keys of ours that go with any form: where the run's checkpoint lies, what it must fit, where to publish. */
export const RUN_KEYS = ['checkpoint_path', 'target', 'output'] as const;

export interface Understood {
  /** To be checked by `checkDocument`. */
  readonly document: unknown;
  /** For each stage, where it stands in the given document: `training.checkpoint_pipeline.stages[0]`. */
  readonly origins: readonly string[];
  /** What was accepted and has no effect, for people. */
  readonly notes: readonly string[];
}

export interface Surroundings {
  /** Stage types of the catalog, plug-ins included: short names of all of them are understood. */
  readonly types: readonly string[];
  /** `--param`: fill the run's own keys where the document leaves them out. */
  readonly parameters: Readonly<Record<string, string>>;
  /** What a location says once its references are resolved: the scheme of `source: <uri>` decides which stage reads it. */
  readonly resolve?: (text: string, configPath: string) => string;
}

type Mapping = Readonly<Record<string, unknown>>;

interface Draft {
  readonly stage: unknown;
  readonly origin: string;
}

/** Any accepted form → ours. Documents that are ours already come back with their short names resolved and nothing else changed. */
export function understandDocument(given: unknown, surroundings: Surroundings): Understood {
  if (!isMapping(given)) return { document: given, origins: [], notes: [] };
  const { resolve = (text) => text } = surroundings;
  const training = isMapping(given['training']) ? given['training'] : undefined;
  const pipeline = training?.['checkpoint_pipeline'] ?? given['checkpoint_pipeline'];
  const pipelineAt = training?.['checkpoint_pipeline'] === undefined ? 'checkpoint_pipeline' : 'training.checkpoint_pipeline';
  const blocks = training?.['checkpoint'];
  const forms = [
    ...('stages' in given ? ['stages'] : []),
    ...(pipeline === undefined ? [] : [pipelineAt]),
    ...(isMapping(blocks) && [...BLOCKS, ...ANEMOI_SETTINGS].some((key) => key in blocks) ? ['training.checkpoint'] : []),
  ];
  if (forms.length > 1)
    throw new CheckpointConfigError(
      `The document describes the pipeline ${forms.length} times: ${forms.join(', ')}. Keep one of them.`,
      forms[1],
    );
  // In a document of ours a parameter is what `${param.x}` says and nothing else.
  const run = runKeys(given, forms[0] === 'stages' && training === undefined ? {} : surroundings.parameters);
  const notes: string[] = [];
  let settings: Mapping = {};
  let drafts: readonly Draft[];
  if (forms[0] === 'stages') {
    const {
      checkpoint_path: _path,
      target: _target,
      output: _output,
      training: _training,
      source,
      async_execution: asynchronous,
      ...others
    } = given;
    settings = training === undefined ? withoutExtensions(others) : { ...ofRoot(others), stages: given['stages'] };
    if (asynchronous !== undefined) notes.push(ASYNCHRONOUS);
    if (!Array.isArray(given['stages'])) return { document: settings, origins: [], notes };
    drafts = [
      ...(source === undefined ? [] : [{ stage: { source }, origin: 'source' }]),
      ...given['stages'].map((stage: unknown, index) => ({ stage, origin: `stages[${index}]` })),
    ];
  } else if (forms[0] === pipelineAt) {
    const known = settingsOf(pipeline, PIPELINE_SETTINGS, pipelineAt, notes);
    const stages = known['stages'] ?? [];
    if (!Array.isArray(stages)) throw new CheckpointConfigError('`stages` must be a list.', `${pipelineAt}.stages`);
    drafts = stages.map((stage: unknown, index) => ({ stage, origin: `${pipelineAt}.stages[${index}]` }));
    settings = { ...ofRoot(given), ...known };
  } else if (forms[0] === 'training.checkpoint') {
    const known = settingsOf(blocks, BLOCK_SETTINGS, 'training.checkpoint', notes);
    drafts = blockStages(known);
    settings = { ...ofRoot(given), ...known };
  } else if (training !== undefined) {
    settings = ofRoot(given);
    drafts = legacyStages(given, training, { resolve, checkpointPath: run.checkpoint_path });
    if (drafts.length === 0)
      throw new CheckpointConfigError(
        'This looks like an Anemoi configuration, but `training` has neither `checkpoint_pipeline`, nor `checkpoint` with `source` and `loading`, nor a legacy key such as `load_weights_only`.',
        'training',
      );
  } else return { document: given, origins: [], notes };

  const { source: _source, loading: _loading, modifiers: _modifiers, stages: _stages, ...others } = settings;
  const rest = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== null));
  const flags = refreshFlags(training, resolve);
  const stages = drafts.map(({ stage, origin }) => completed(stageOf(stage, origin, surroundings), given, run, flags, origin));
  const origins = drafts.map(({ origin }) => origin);
  if (run.output !== undefined && !stages.some(({ type }) => isSink(String(type)))) {
    stages.push(publishing(run.output, surroundings));
    origins.push('output');
  }
  return { document: { ...rest, stages }, origins, notes };
}

/** The run's output, in the format that its name says. */
function publishing(output: unknown, { resolve = (text) => text }: Surroundings): Record<string, unknown> {
  const format = typeof output === 'string' ? formatNamed(resolve(output, 'output')) : 'safetensors';
  // What the stage takes by itself is not written out: documents stay as they are.
  return { type: 'sink.publish', uri: output, ...(format === 'safetensors' ? {} : { format }) };
}

function runKeys(
  given: Mapping,
  parameters: Readonly<Record<string, string>>,
): Readonly<Partial<Record<(typeof RUN_KEYS)[number], unknown>>> {
  const training = isMapping(given['training']) ? given['training'] : {};
  const entries = RUN_KEYS.map(
    (key) => [key, given[key] ?? (key === 'checkpoint_path' ? training[key] : undefined) ?? parameters[key]] as const,
  );
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined && value !== null));
}

/** Keys that begin with `x-` hold what anchors name, and nothing else. */
function withoutExtensions(others: Mapping): Mapping {
  return Object.fromEntries(Object.entries(others).filter(([key]) => !key.startsWith('x-') && key !== '_target_'));
}

/** Settings of ours at the root of an Anemoi configuration, which has many other keys there. */
function ofRoot(given: Mapping): Mapping {
  const ours = ['max_retries', 'timeout', 'continue_on_error', ...OUR_SETTINGS];
  return Object.fromEntries(Object.entries(given).filter(([key]) => ours.includes(key)));
}

/** Settings of a pipeline; what has no effect here becomes a note. */
function settingsOf(given: unknown, known: readonly string[], at: string, notes: string[]): Mapping {
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

function blockStages(blocks: Mapping): readonly Draft[] {
  const { source, loading, modifiers } = blocks;
  if (modifiers !== undefined && !Array.isArray(modifiers))
    throw new CheckpointConfigError('`modifiers` must be a list.', 'training.checkpoint.modifiers');
  return [
    ...(source === undefined ? [] : [{ stage: typeof source === 'string' ? { source } : source, origin: 'training.checkpoint.source' }]),
    ...(loading === undefined ? [] : [{ stage: loading, origin: 'training.checkpoint.loading' }]),
    ...((modifiers as readonly unknown[] | undefined) ?? []).map((stage, index) => ({
      stage,
      origin: `training.checkpoint.modifiers[${index}]`,
    })),
  ];
}

interface LegacySurroundings {
  readonly resolve: NonNullable<Surroundings['resolve']>;
  /** Where the run's checkpoint lies, if that is said: it goes before what follows from ids and folders. */
  readonly checkpointPath: unknown;
}

/** What `training` said before there were pipelines. */
function legacyStages(given: Mapping, training: Mapping, surroundings: LegacySurroundings): readonly Draft[] {
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

/** What Anemoi's reader of YAML, which is of version 1.1, takes for a boolean; undefined: it is left out. */
function flagIn(mapping: Mapping, key: string, at: string, resolve: NonNullable<Surroundings['resolve']>): boolean | undefined {
  const given = mapping[key];
  const place = `${at}.${key}`;
  const value = typeof given === 'string' ? resolve(given, place) : given;
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'boolean') return value;
  if (typeof value === 'string' && /^(true|yes|on)$/i.test(value)) return true;
  if (typeof value === 'string' && /^(false|no|off)$/i.test(value)) return false;
  throw new CheckpointConfigError(`\`${place}\` is true or false; got ${shown(given)}.`, place);
}

/** Where the setting is there, Anemoi's own defaults count for what it leaves out; without it both are off. */
function refreshFlags(training: Mapping | undefined, resolve: NonNullable<Surroundings['resolve']>): Readonly<Record<string, boolean>> {
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

/** One stage with its type as ours is; options are left as they are. */
function stageOf(given: unknown, origin: string, surroundings: Surroundings): Record<string, unknown> {
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

function typeOfTarget(target: string, given: Mapping, origin: string): string {
  const dot = target.lastIndexOf('.');
  const [module, name] = [target.slice(0, Math.max(dot, 0)), target.slice(dot + 1)];
  refuseAnnounced(name, `${origin}._target_`);
  const known = Object.hasOwn(ANEMOI_CLASSES, name) ? ANEMOI_CLASSES[name]! : undefined;
  if (known?.modules.some((each) => `${ROOT}.${each}` === module) === true) return known.type;
  const classes = Object.entries(ANEMOI_CLASSES).map(([each, { modules }]) => `${ROOT}.${modules[0]}.${each}`);
  const hint =
    known === undefined ? didYouMean(name, Object.keys(ANEMOI_CLASSES)) : ` Did you mean \`${ROOT}.${known.modules[0]}.${name}\`?`;
  throw new CheckpointConfigError(
    `Unknown \`_target_\` in ${shown(given)}.${hint} A target is looked up in a table and never imported; known are ${classes.join(', ')}. Stages of a plug-in are named by \`type\`.`,
    `${origin}._target_`,
  );
}

/** `s3`, `freeze`, `publish`, or a class name. */
function typeOfName(name: string, types: readonly string[], origin: string): string {
  refuseAnnounced(name, `${origin}.type`);
  for (const [className, { type, names }] of Object.entries(ANEMOI_CLASSES)) if (className === name || names.includes(name)) return type;
  const fits = STAGE_KINDS.map((kind) => `${kind}.${name}`).filter((type) => types.includes(type));
  if (fits.length === 1) return fits[0]!;
  if (fits.length > 1) throw new CheckpointConfigError(`\`${name}\` may be ${fits.join(' or ')}: write the whole type.`, `${origin}.type`);
  const aliases = Object.values(ANEMOI_CLASSES).flatMap(({ names }) => names);
  throw new CheckpointConfigError(
    `Unknown stage type \`${name}\`.${didYouMean(name, [...aliases, ...Object.keys(ANEMOI_CLASSES), ...types])} Known types: ${types.join(', ')}; for short ${aliases.join(', ')}.`,
    `${origin}.type`,
  );
}

function refuseAnnounced(name: string, at: string): void {
  if (ANNOUNCED.test(name))
    throw new CheckpointConfigError(`\`${name}\` was announced but is not available yet, neither in Anemoi nor here.`, at);
}

/** What Anemoi takes from the run instead of from the stage, and its aliases. */
function completed(
  stage: Record<string, unknown>,
  given: Mapping,
  run: Readonly<Partial<Record<(typeof RUN_KEYS)[number], unknown>>>,
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

/** The first 200 characters of a stage's configuration, without what a URL may carry of credentials. */
function shown(given: unknown): string {
  const text = JSON.stringify(given as Json) ?? String(given);
  return withoutUserInfo(text).slice(0, 200);
}
