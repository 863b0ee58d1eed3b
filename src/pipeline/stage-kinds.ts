/** What the type of a stage says: its kind stands before the dot. Workflow-safe. */

/** In the order that they usually stand in. */
export const STAGE_KINDS = ['source', 'loader', 'modifier', 'sink'] as const;
export type StageKind = (typeof STAGE_KINDS)[number];

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
