/**
 * A document of ours in its plain form: `source: <uri>` becomes the stage that reads it, a short type the whole one, and keys that
 * begin with `x-` are gone.
 *
 * Invariant: the same for the command line, for clients, and for a workflow, whoever started it and whatever stages its worker has; a
 * plain document stays as it is, and so does what is wrong, for the checks that follow. Pure and workflow-safe.
 */
import { CheckpointConfigError } from '../errors.ts';
import { isMapping, type Mapping } from '../model/json.ts';
import { schemeOf } from '../model/scheme.ts';
import { didYouMean } from '../model/suggestions.ts';
import { shown } from './shown.ts';
import { typeOfName } from './stage-names.ts';

export interface Draft {
  readonly stage: unknown;
  /** Where it stands in the given document. */
  readonly origin: string;
}

/** What whoever reads the document knows beyond it. */
export interface Readings {
  /** Stage types of the catalog, plug-ins included: a short one that none of them has is refused. Default: the short ones of our own stages are known, and any other type is left as it is. */
  readonly types?: readonly string[];
  /** What a location says once its references are resolved: the scheme of `source: <uri>` decides which stage reads it. */
  readonly resolve?: (text: string, configPath: string) => string;
}

export interface PlainDocument {
  /** To be checked. */
  readonly document: unknown;
  /** For each stage, where it stands in the given document. */
  readonly origins: readonly string[];
}

export function plainDocument(given: unknown): PlainDocument {
  if (!isMapping(given)) return { document: given, origins: [] };
  const settings = withoutExtensions(given);
  const drafts = draftsOf(settings);
  if (drafts === null) return { document: settings, origins: [] };
  const { source: _source, ...others } = settings;
  const stages = drafts.map(({ stage, origin }) => (isMapping(stage) ? plainStage(stage, origin, {}) : stage));
  return { document: { ...others, stages }, origins: drafts.map(({ origin }) => origin) };
}

/** Keys that begin with `x-` hold what anchors name, and nothing else. */
export function withoutExtensions(given: Mapping): Mapping {
  return Object.fromEntries(Object.entries(given).filter(([key]) => !key.startsWith('x-')));
}

/** The stages of a document, the one that `source` at its root is short for first; null: it has no list of them. */
export function draftsOf({ source, stages }: Mapping): readonly Draft[] | null {
  if (!Array.isArray(stages)) return null;
  return [
    ...(source === undefined ? [] : [{ stage: { source }, origin: 'source' }]),
    ...stages.map((stage: unknown, index) => ({ stage, origin: `stages[${index}]` })),
  ];
}

/** One stage with its type as it is in full; options are left as they are. */
export function plainStage(stage: Mapping, origin: string, readings: Readings): Mapping {
  const { type } = stage;
  if (type === undefined && 'source' in stage) return sourceOf(stage, origin, readings);
  if (typeof type !== 'string' || type.includes('.')) return stage;
  return { ...stage, type: typeOfName(type, readings.types, origin) };
}

/** Schemes of `source: <uri>`, each with the stage that reads it and the option that takes the place. */
const SCHEMES: Readonly<Record<string, readonly [type: string, option: string]>> = {
  file: ['source.local', 'path'],
  s3: ['source.s3', 'url'],
  http: ['source.http', 'url'],
  https: ['source.http', 'url'],
};

/** `source: <uri>`, with further options beside it: the scheme says which source it is; without one it is a local path. */
function sourceOf({ source, ...options }: Mapping, origin: string, { resolve = (text) => text }: Readings): Mapping {
  // At the root and in a block the key is the origin itself.
  const at = /(^|\.)source$/.test(origin) ? origin : `${origin}.source`;
  if (typeof source !== 'string' || source === '')
    throw new CheckpointConfigError(`\`source\` is a path or URI as text; got ${shown(source)}.`, at);
  const place = resolve(source, at);
  if (place.startsWith('${item.'))
    throw new CheckpointConfigError(
      `\`source\` begins with a value of the item, and which stage runs does not come from an item. Write the stage out: \`type: source.s3\` with \`url: '${place}'\`, or source.http, or source.local with \`path\`.`,
      at,
    );
  const scheme = schemeOf(place) ?? 'file';
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
