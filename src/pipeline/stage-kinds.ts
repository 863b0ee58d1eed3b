/** What the type of a stage says: its kind stands before the dot. Which of them are our own. Workflow-safe. */

/** In the order that they usually stand in. */
export const STAGE_KINDS = ['source', 'loader', 'modifier', 'sink'] as const;
export type StageKind = (typeof STAGE_KINDS)[number];

/** Types of our own stages: a workflow has no catalog. A test holds the list against it. */
export const OWN_TYPES: readonly string[] = [
  'source.http',
  'source.local',
  'source.s3',
  'loader.cold_start',
  'loader.transfer_learning',
  'loader.warm_start',
  'loader.weights_only',
  'modifier.cast',
  'modifier.drop_training_state',
  'modifier.freezing',
  'modifier.metadata',
  'modifier.rename',
  'modifier.select',
  'sink.publish',
];

export const isSource = (type: string): boolean => isOf('source', type);
export const isLoader = (type: string): boolean => isOf('loader', type);
export const isSink = (type: string): boolean => isOf('sink', type);

function isOf(kind: StageKind, type: string): boolean {
  return type.startsWith(`${kind}.`);
}

/** Where a source reads from, by whichever of its options names the place. */
export function placeOfSource(options: Readonly<Record<string, unknown>>): string | undefined {
  const place = options['url'] ?? options['uri'] ?? options['path'];
  return typeof place === 'string' ? place : undefined;
}
