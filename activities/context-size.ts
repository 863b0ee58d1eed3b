/** What a stage hands on stays small, whatever the run has met: its record is cut before a stage fails for it. */
import { CheckpointError, type Json } from '../src/errors.ts';
import { CONTEXT_LIMIT, type CheckpointContext } from '../src/model/context.ts';

/** Characters of a text that is not worth cutting. */
const SHORT = 80;

/**
 * The context with the longest lists and texts of its metadata cut until it keeps the limit. Nothing is lost: the lists are complete in the manifest.
 * Throws for what cannot be cut, as a plug-in may make it. Outputs do not count, as they are published by then.
 */
export function withinLimit(type: string, context: CheckpointContext): CheckpointContext {
  const { outputs: _outputs, metadata, ...others } = context;
  const room = CONTEXT_LIMIT - bytesOf(others);
  let cut = metadata;
  while (bytesOf(cut) > room) {
    const longest = longestOf(cut);
    if (longest === null)
      throw new CheckpointError(
        `${type} made a context of ${bytesOf({ ...others, metadata: cut })} bytes; the limit is ${CONTEXT_LIMIT}. Put long values into the workspace, not into the metadata.`,
        { retryable: false, details: { bytes: bytesOf({ ...others, metadata: cut }), limit: CONTEXT_LIMIT } },
      );
    cut = { ...cut, [longest]: halved(cut[longest]!) };
  }
  return cut === metadata ? context : { ...context, metadata: cut };
}

function longestOf(metadata: CheckpointContext['metadata']): string | null {
  const sizes = Object.entries(metadata)
    .filter(([, value]) => (Array.isArray(value) ? value.length > 0 : typeof value === 'string' && value.length > SHORT))
    .map(([key, value]) => ({ key, bytes: bytesOf(value) }));
  return sizes.length === 0 ? null : sizes.reduce((a, b) => (b.bytes > a.bytes ? b : a)).key;
}

function halved(value: Json): Json {
  if (Array.isArray(value)) return value.slice(0, Math.floor(value.length / 2));
  return typeof value === 'string' ? `${value.slice(0, Math.floor(value.length / 2))}…` : value;
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}
