/**
 * Relative locations are refused where a run is started; the preflight refuses those of whoever starts it by other means.
 *
 * Invariant: no stage is loaded for it, as clients are light; a test holds the table against the catalog. Plug-ins know their own options.
 */
import { refuseRelativeLocation } from '../io/locations/location-rules.ts';
import type { BatchInput } from '../pipeline/batch.ts';
import type { PipelineInput } from '../pipeline/contract.ts';
import type { Work } from './start.ts';

/** Options of our own stages that are places in a file system or a store. */
export const LOCATIONS: Readonly<Record<string, readonly string[]>> = {
  'source.local': ['path', 'uri'],
  'loader.weights_only': ['target'],
  'loader.transfer_learning': ['target'],
  'loader.cold_start': ['target'],
  'loader.warm_start': ['target'],
  'sink.publish': ['uri'],
};

/** Throws `CheckpointConfigError` for the first relative location. */
export function refuseRelative({ kind, input }: Work): void {
  if (kind === 'pipeline') return refuseIn(input, '');
  refuseIn(input.pipeline, 'pipeline.');
  for (const [path, location] of placesOf(input)) refuseRelativeLocation(location, path);
}

function refuseIn({ stages }: PipelineInput, prefix: string): void {
  for (const [index, stage] of stages.entries())
    for (const option of Object.hasOwn(LOCATIONS, stage.type) ? LOCATIONS[stage.type]! : [])
      refuseRelativeLocation(stage[option], `${prefix}stages[${index}].${option}`);
}

/** Items of a list may be names that the template makes locations of; results of another batch are as it has told them. */
function placesOf({ items, results }: BatchInput): readonly (readonly [path: string, location: unknown])[] {
  const { uri, manifest } = items as { readonly uri?: unknown; readonly manifest?: unknown };
  return [
    ['items.uri', uri],
    ['items.manifest', manifest],
    ['results', results],
  ];
}
