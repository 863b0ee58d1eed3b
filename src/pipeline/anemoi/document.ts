/**
 * Anemoi's configuration as it stands → our document: `training.checkpoint_pipeline.stages` with `_target_`, the blocks of
 * `training.checkpoint`, the legacy keys of `training`, and short names in a bare `stages:`. Pure and workflow-safe.
 *
 * Invariant: whatever is not understood is an error with a did-you-mean, or, where it changes nothing, a note.
 */
import { CheckpointConfigError } from '../../errors.ts';
import { isMapping, type Mapping } from '../../model/json.ts';
import { attempt } from '../all-problems.ts';
import { draftsOf, withoutExtensions, type Draft, type PlainDocument } from '../plain-document.ts';
import { isSink } from '../stage-kinds.ts';
import { legacyStages } from './legacy.ts';
import {
  ANEMOI_SETTINGS,
  ASYNCHRONOUS,
  BLOCK_SETTINGS,
  BLOCKS,
  ofRoot,
  PIPELINE_SETTINGS,
  refreshFlags,
  runKeys,
  settingsOf,
} from './settings.ts';
import { completed, publishing, stageOf, type Surroundings } from './stages.ts';

export interface Understood extends PlainDocument {
  /** For each setting of the document, where it stands in the given one. */
  readonly places: Readonly<Record<string, string>>;
  /** What was accepted and has no effect, for people. */
  readonly notes: readonly string[];
  /** Indexes of stages that could not be understood, where that was told. */
  readonly unread: readonly number[];
}

/**
 * Whether it is Anemoi's configuration, or a list of its stages: what its reader makes of the text counts, which is of YAML 1.1. A list
 * `stages` without any of them is ours, whatever stands beside it.
 */
export function isAnemoi(given: unknown): boolean {
  if (!isMapping(given)) return false;
  const { stages } = given;
  const isTargeted = (stage: unknown): boolean => isMapping(stage) && '_target_' in stage;
  if (Array.isArray(stages)) return stages.some(isTargeted);
  return isMapping(given['training']) || 'checkpoint_pipeline' in given;
}

/** Any accepted form → ours. Documents that are ours already come back with their short names resolved and nothing else changed. */
export function understandDocument(given: unknown, surroundings: Surroundings): Understood {
  if (!isMapping(given)) return { document: given, origins: [], places: {}, notes: [], unread: [] };
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
  const form = forms[0] ?? (training === undefined ? undefined : 'training');
  if (form !== undefined && form !== 'stages') refuseSource(given, form);
  // In a document of ours a parameter is what `${param.x}` says and nothing else.
  const run = runKeys(given, forms[0] === 'stages' && training === undefined ? {} : surroundings.parameters);
  const notes: string[] = [];
  let settings: Mapping = {};
  let drafts: readonly Draft[];
  let places: Readonly<Record<string, string>> = {};
  if (forms[0] === 'stages') {
    const {
      checkpoint_path: _path,
      target: _target,
      output: _output,
      training: _training,
      _target_: _class,
      async_execution: asynchronous,
      ...others
    } = given;
    settings = training === undefined ? withoutExtensions(others) : { ...ofRoot(others), stages: given['stages'] };
    if (asynchronous !== undefined) notes.push(ASYNCHRONOUS);
    const listed = draftsOf(given);
    if (listed === null) return { document: settings, origins: [], places: {}, notes, unread: [] };
    drafts = listed;
  } else if (forms[0] === pipelineAt) {
    const known = settingsOf(pipeline, PIPELINE_SETTINGS, pipelineAt, notes);
    const stages = known['stages'] ?? [];
    if (!Array.isArray(stages)) throw new CheckpointConfigError('`stages` must be a list.', `${pipelineAt}.stages`);
    drafts = stages.map((stage: unknown, index) => ({ stage, origin: `${pipelineAt}.stages[${index}]` }));
    settings = { ...ofRoot(given), ...known };
    places = placesUnder(pipelineAt, known);
  } else if (forms[0] === 'training.checkpoint') {
    const known = settingsOf(blocks, BLOCK_SETTINGS, 'training.checkpoint', notes);
    drafts = blockStages(known);
    settings = { ...ofRoot(given), ...known };
    places = placesUnder('training.checkpoint', known);
  } else if (training !== undefined) {
    settings = ofRoot(given);
    drafts = legacyStages(given, training, { resolve, checkpointPath: run.checkpoint_path });
    if (drafts.length === 0)
      throw new CheckpointConfigError(
        'This looks like an Anemoi configuration, but `training` has neither `checkpoint_pipeline`, nor `checkpoint` with `source` and `loading`, nor a legacy key such as `load_weights_only`.',
        'training',
      );
  } else return { document: given, origins: [], places: {}, notes, unread: [] };

  const { source: _source, loading: _loading, modifiers: _modifiers, stages: _stages, ...others } = settings;
  const rest = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== null));
  const flags = refreshFlags(training, resolve);
  const understand = ({ stage, origin }: Draft): Mapping => completed(stageOf(stage, origin, surroundings), given, run, flags, origin);
  const unread: number[] = [];
  const stages = drafts.map((draft, index) => {
    if (surroundings.tell === undefined) return understand(draft);
    const stage = attempt(() => understand(draft), null, surroundings.tell);
    if (stage === null) unread.push(index);
    return stage;
  });
  const origins = drafts.map(({ origin }) => origin);
  if (run.output !== undefined && !stages.some((stage) => isSink(String(stage?.['type'])))) {
    stages.push(publishing(run.output, surroundings));
    origins.push('output');
  }
  return { document: { ...rest, stages }, origins, places, notes, unread };
}

/** One that is meant, not a group of the configuration. */
function refuseSource({ source }: Mapping, form: string): void {
  if (typeof source !== 'string') return;
  const advice =
    form === 'training'
      ? 'Write `checkpoint_path` for it.'
      : form === 'training.checkpoint'
        ? 'Write it there, beside `loading`.'
        : 'Make it the first stage there: `- source: …`.';
  throw new CheckpointConfigError(
    `\`source\` at the root goes with \`stages\` there, and this pipeline stands under \`${form}\`. ${advice}`,
    'source',
  );
}

function placesUnder(at: string, settings: Mapping): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.keys(settings).map((key) => [key, `${at}.${key}`]));
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
