/**
 * Advice on a pipeline's composition: what is in an odd order, twice, or missing.
 *
 * Invariant: advice never fails a run; it goes by the stages' kinds, is recorded in the metadata under `composition`, and is
 * what `ckpt validate` prints. Workflow-safe.
 */
import type { JsonObject } from '../errors.ts';
import { foreignExtension, formatExpected } from '../model/header.ts';
import type { StageSpec } from './contract.ts';
import { isLoader } from './stage-kinds.ts';

const FINDING_CODES = [
  'no_stages',
  'source_after_loader',
  'modifier_before_loader',
  'source_after_modifier',
  'sink_before_loader',
  'stage_after_last_sink',
  'duplicate_loader',
  'duplicate_source',
  'loaders_without_source_between',
  'missing_source',
  'missing_loader',
  'missing_sink',
  'modifiers_only',
  'training_state_without_target',
  'no_target',
  'format_unlike_name',
  'training_state_not_written',
  'no_checksum',
] as const;
export type FindingCode = (typeof FINDING_CODES)[number];

export interface CompositionFinding {
  readonly code: FindingCode;
  /** A warning is about what the stages do; a suggestion about what is not there; an info is worth knowing and often meant so. */
  readonly level: 'warning' | 'suggestion' | 'info';
  /** Indexes into the list of stages, from 0. */
  readonly positions: readonly number[];
  readonly message: string;
}

/** All findings, in the order of `FINDING_CODES`. */
export function adviseComposition(stages: readonly Pick<StageSpec, 'type'>[]): readonly CompositionFinding[] {
  if (stages.length === 0) return [warning('no_stages', [], 'The pipeline has no stages: it succeeds without publishing anything.')];
  const types = stages.map(({ type }) => type);
  const at = (kind: string): readonly number[] => types.flatMap((type, index) => (type.startsWith(`${kind}.`) ? [index] : []));
  const [sources, loaders, modifiers, sinks] = [at('source'), at('loader'), at('modifier'), at('sink')];
  const [firstLoader, lastLoader, lastSource] = [loaders[0], loaders.at(-1), sources.at(-1)];
  const found: CompositionFinding[] = [];

  if (lastSource !== undefined && firstLoader !== undefined && lastSource > firstLoader) {
    found.push(
      warning(
        'source_after_loader',
        [lastSource, firstLoader],
        `${named(types, lastSource)} comes after ${named(types, firstLoader)}: a loader works on what a source before it has read.`,
      ),
    );
  }
  const firstModifier = modifiers[0];
  if (firstModifier !== undefined && lastLoader !== undefined && firstModifier < lastLoader) {
    found.push(
      warning(
        'modifier_before_loader',
        [firstModifier, lastLoader],
        `${named(types, firstModifier)} comes before ${named(types, lastLoader)}: what is loaded later is not modified by it.`,
      ),
    );
  }
  const lateSource = sources.find((source) => firstModifier !== undefined && source > firstModifier);
  if (lateSource !== undefined && firstModifier !== undefined) {
    found.push(
      warning(
        'source_after_modifier',
        [lateSource, firstModifier],
        `${named(types, lateSource)} comes after ${named(types, firstModifier)}: the usual order is source, loader, modifier, sink.`,
      ),
    );
  }
  const earlySink = sinks.find((sink) => firstLoader === undefined || sink < firstLoader);
  if (earlySink !== undefined && firstLoader !== undefined) {
    found.push(
      warning(
        'sink_before_loader',
        [earlySink, firstLoader],
        `${named(types, earlySink)} comes before ${named(types, firstLoader)}: there is nothing to publish yet.`,
      ),
    );
  }
  const lastSink = sinks.at(-1);
  if (lastSink !== undefined && lastSink < types.length - 1) {
    const after = types.flatMap((_, index) => (index > lastSink ? [index] : []));
    found.push(warning('stage_after_last_sink', after, `What stages after ${named(types, lastSink)} do is not published by any sink.`));
  }
  for (const type of repeated(types, loaders)) {
    const positions = loaders.filter((index) => types[index] === type);
    found.push(
      warning(
        'duplicate_loader',
        positions,
        `${type} is there ${positions.length} times, at ${places(positions)}: they conflict, the last one wins.`,
      ),
    );
  }
  for (const type of repeated(types, sources)) {
    const positions = sources.filter((index) => types[index] === type);
    found.push(
      warning(
        'duplicate_source',
        positions,
        `${type} is there ${positions.length} times, at ${places(positions)}: the last one replaces the others.`,
      ),
    );
  }
  for (const [before, after] of loaders.slice(1).map((index, i) => [loaders[i]!, index] as const)) {
    if (types[before] === types[after] || sources.some((source) => source > before && source < after)) continue;
    found.push(
      warning(
        'loaders_without_source_between',
        [before, after],
        `${named(types, before)} and ${named(types, after)} load the same source: the later one wins for every tensor that both select.`,
      ),
    );
  }
  if (loaders.length > 0 && sources.length === 0)
    found.push(suggestion('missing_source', loaders, 'There is a loader but no source: put a source such as source.local before it.'));
  if (sources.length > 0 && loaders.length === 0)
    found.push(
      suggestion('missing_loader', sources, 'There is a source but no loader: put a loader such as loader.weights_only after it.'),
    );
  if (loaders.length > 0 && sinks.length === 0)
    found.push(suggestion('missing_sink', loaders, 'There is a loader but no sink: nothing will be published. Put sink.publish last.'));
  if (modifiers.length > 0 && sources.length === 0 && loaders.length === 0)
    found.push(suggestion('modifiers_only', modifiers, 'There are only modifiers: put a source and a loader before them.'));
  return found;
}

/** What loaders are asked for without a target, by which they could be judged. */
function adviseTargets(stages: readonly StageSpec[]): readonly CompositionFinding[] {
  const without = stages.flatMap(({ type, target }, index) => (isLoader(type) && target === undefined ? [index] : []));
  const resumed = without.filter((index) => stages[index]!.type === 'loader.warm_start');
  // Those that need one are refused.
  const others = without.filter((index) => {
    const { type, strict, fill } = stages[index]!;
    return !resumed.includes(index) && type !== 'loader.transfer_learning' && strict !== true && fill !== 'target';
  });
  return [
    ...(resumed.length === 0
      ? []
      : [
          warning(
            'training_state_without_target',
            resumed,
            'Training state is kept without a `target`: nothing checks that weights and optimizer fit the model that will go on with them.',
          ),
        ]),
    ...(others.length === 0
      ? []
      : [finding('info', 'no_target', others, 'There is no `target`: the whole state dict of the source is taken as it is.')]),
  ];
}

/** What is published as something else than its name says, or without what was kept for it. */
export function adviseOutputs(stages: readonly StageSpec[]): readonly CompositionFinding[] {
  const types = stages.map(({ type }) => type);
  const outputs = stages.flatMap(({ type, uri, format, training_state: state }, index) =>
    type === 'sink.publish' && typeof uri === 'string'
      ? [{ index, uri, format: format ?? 'safetensors', isSaid: format !== undefined, isAsked: state !== false }]
      : [],
  );
  const misnamed = outputs.flatMap(({ index, uri, format, isSaid }) => {
    const expected = formatExpected(uri);
    const foreign = foreignExtension(uri);
    if (foreign !== undefined && !isSaid) {
      const text = `${named(types, index)} writes safetensors under a name with \`${foreign}\`: say \`format: safetensors\` if that is meant, or take a name with \`.safetensors\`.`;
      return [warning('format_unlike_name', [index], text)];
    }
    // A name of torch's goes with whatever torch reads.
    if (expected === undefined || expected === format || (expected === 'pytorch' && format !== 'safetensors')) return [];
    const name = uri.slice(uri.lastIndexOf('/') + 1);
    const text = `${named(types, index)} writes ${String(format)} to ${name}, a name for ${expected}: say \`format: ${expected}\`, or take another name.`;
    return [warning('format_unlike_name', [index], text)];
  });
  const stateless = outputs.flatMap(({ index, format, isAsked }) => {
    const before = types.slice(0, index);
    const loader = before.lastIndexOf('loader.warm_start');
    if (format !== 'safetensors' || !isAsked || loader <= before.lastIndexOf('modifier.drop_training_state')) return [];
    const text = `${named(types, index)} writes safetensors, which has no place for the training state that ${named(types, loader)} keeps: say \`format: lightning\` or \`format: pytorch\`.`;
    return [warning('training_state_not_written', [loader, index], text)];
  });
  return [...misnamed, ...stateless];
}

/** What is taken from a web server as it comes: a store's own sums, which others have, are not there. */
function adviseSources(stages: readonly StageSpec[]): readonly CompositionFinding[] {
  const unchecked = stages.flatMap(({ type, expected_checksum: sum }, index) =>
    type === 'source.http' && sum === undefined ? [index] : [],
  );
  if (unchecked.length === 0) return [];
  const text = `${allNamed(stages, unchecked)}: without \`expected_checksum\` nothing shows that the server gives the file that was meant.`;
  return [warning('no_checksum', unchecked, text)];
}

/** Everything that is advised before a run. */
export function advise(stages: readonly StageSpec[]): readonly CompositionFinding[] {
  return [...adviseComposition(stages), ...adviseTargets(stages), ...adviseOutputs(stages), ...adviseSources(stages)];
}

/** As it stands in a run's metadata. */
export function compositionRecord(findings: readonly CompositionFinding[]): readonly JsonObject[] {
  return findings
    .slice(0, 20)
    .map(({ code, level, positions, message }) => ({ code, level, positions: positions.slice(0, 20), message: message.slice(0, 300) }));
}

function finding(level: CompositionFinding['level'], code: FindingCode, positions: readonly number[], message: string): CompositionFinding {
  return { code, level, positions, message };
}

function warning(code: FindingCode, positions: readonly number[], message: string): CompositionFinding {
  return finding('warning', code, positions, message);
}

function suggestion(code: FindingCode, positions: readonly number[], message: string): CompositionFinding {
  return finding('suggestion', code, positions, message);
}

function named(types: readonly string[], index: number): string {
  return `${types[index]} (stages[${index}])`;
}

function allNamed(stages: readonly StageSpec[], positions: readonly number[]): string {
  const types = stages.map(({ type }) => type);
  return positions.map((index) => named(types, index)).join(', ');
}

function places(positions: readonly number[]): string {
  return positions.map((index) => `stages[${index}]`).join(', ');
}

function repeated(types: readonly string[], positions: readonly number[]): ReadonlySet<string> {
  const seen = new Set<string>();
  const again = new Set<string>();
  for (const index of positions) (seen.has(types[index]!) ? again : seen).add(types[index]!);
  return again;
}
