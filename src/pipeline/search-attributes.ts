/**
 * Search attributes of runs: their names and types, and what a run says in them. Workflow-safe.
 *
 * Invariant: a run sets only those that its starter has seen on the server and named in the memo; an unknown one would block the
 * workflow until somebody registers it. Few on purpose: SQLite takes 10 of type Keyword and 3 of any other in a namespace.
 */
import { withoutUserInfo } from '../errors.ts';
import type { CheckpointContext } from '../model/context.ts';
import type { PipelineInput, RunStatus } from './contract.ts';
import { isSource, placeOfSource } from './stage-kinds.ts';

export const SEARCH_ATTRIBUTES = {
  CheckpointSource: 'KEYWORD',
  CheckpointFormat: 'KEYWORD',
  CheckpointStatus: 'KEYWORD',
  CheckpointStage: 'KEYWORD',
  CheckpointBatch: 'KEYWORD',
  CheckpointBytes: 'INT',
  CheckpointTensors: 'INT',
} as const;
export type SearchAttributeName = keyof typeof SEARCH_ATTRIBUTES;

/** Key of the memo under which the starter lists the search attributes that the server has. */
export const ATTRIBUTES_MEMO = 'checkpoint_search_attributes';

export type AttributeValues = Readonly<Partial<Record<SearchAttributeName, string | number>>>;

/** Longest value of a Keyword in Temporal's visibility stores. */
const MOST_CHARACTERS = 255;

/** Of a run that is about to start. */
export function startAttributes({ stages }: PipelineInput): AttributeValues {
  const place = placeOfSource(stages.find(({ type }) => isSource(type)) ?? {});
  return {
    CheckpointStatus: 'running',
    ...(place !== undefined ? { CheckpointSource: withoutSecrets(uriOf(place)) } : {}),
  };
}

/** Of a run that waits or has ended; `stage` is the one it stands at. */
export function runAttributes(status: RunStatus, stage: string | null, { source, format, outputs }: CheckpointContext): AttributeValues {
  return {
    CheckpointStatus: status,
    ...(stage === null ? {} : { CheckpointStage: stage }),
    ...(source === undefined ? {} : { CheckpointSource: withoutSecrets(source.uri) }),
    ...(format === undefined ? {} : { CheckpointFormat: format }),
    ...(outputs.length === 0
      ? {}
      : {
          CheckpointBytes: outputs.reduce((sum, { size }) => sum + size, 0),
          CheckpointTensors: outputs.reduce((sum, { tensors }) => sum + tensors, 0),
        }),
  };
}

/** Those that the server has, ready to be set. */
export function presentAttributes(
  values: AttributeValues,
  known: readonly string[],
): readonly (readonly [SearchAttributeName, string | number])[] {
  return (Object.entries(values) as [SearchAttributeName, string | number][])
    .filter(([name]) => known.includes(name))
    .map(([name, value]) => [name, typeof value === 'string' ? value.slice(0, MOST_CHARACTERS) : value]);
}

/** Beside what `URL` escapes in a path, as `pathToFileURL` of Node 24 does. */
const ESCAPED = /[%\\\n\r\t[\]|~^]/g;

/** Of an absolute path the URI that the stage will write; all else as it is. */
function uriOf(place: string): string {
  if (!place.startsWith('/')) return place;
  const uri = new URL('file:///');
  uri.pathname = place
    .replaceAll(/\/+/g, '/')
    .replaceAll(ESCAPED, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`);
  return uri.href;
}

/** A URI may carry a password, that of HTTP a signature, too; what runs are found by must not. */
function withoutSecrets(place: string): string {
  const shown = withoutUserInfo(place);
  return /^https?:/i.test(shown) ? shown.replace(/[?#].*$/s, '') : shown;
}
