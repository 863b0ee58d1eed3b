/**
 * Anemoi's chunking fix: names of a processor saved in chunks → names of its layers in one list.
 *
 * `…proc.<c>.blocks.<b>.<rest>` → `…proc.<c·(L div C)+b>.<rest>`, with L layers in C chunks from the checkpoint's own
 * configuration. Running it twice changes nothing more, as no migrated name has `blocks` at that place.
 */
import { CheckpointIncompatibleError } from '../errors.ts';
import type { Header } from '../model/header.ts';
import { integerAt } from './tree.ts';

const CHUNKED = /^model\.model\.processor\.proc\.(\d{1,6})\.blocks\.(\d{1,6})\.(.+)$/s;
const PROCESSOR = ['hyper_parameters', 'config', 'model', 'processor'];

export interface Migration {
  readonly rename: (name: string) => string;
  /** How many names it changes. */
  readonly count: number;
  readonly warning?: string;
}

export function chunkingFix(header: Header): Migration {
  const chunked = header.weights.filter(({ name }) => CHUNKED.test(name)).length;
  const unchanged = (name: string): string => name;
  if (chunked === 0) return { rename: unchanged, count: 0 };
  const layers = header.tree === undefined ? undefined : integerAt(header.tree, [...PROCESSOR, 'num_layers']);
  const chunks = header.tree === undefined ? undefined : integerAt(header.tree, [...PROCESSOR, 'num_chunks']);
  if (layers === undefined || chunks === undefined || chunks < 1 || layers < chunks) {
    const warning = `${chunked} names have the old chunked layout of the processor, but ${PROCESSOR.join('.')} has no usable num_layers and num_chunks: they were left as they are.`;
    return { rename: unchanged, count: 0, warning };
  }
  const perChunk = Math.floor(layers / chunks);
  const rename = (name: string): string => {
    const parts = CHUNKED.exec(name);
    return parts === null ? name : `model.model.processor.proc.${Number(parts[1]) * perChunk + Number(parts[2])}.${parts[3]}`;
  };
  const names = new Set(header.weights.map(({ name }) => rename(name)));
  if (names.size < header.weights.length) {
    throw new CheckpointIncompatibleError(
      `The chunked names of the processor do not fit its own configuration: with ${layers} layers in ${chunks} chunks, two of them get one name.`,
      { details: { reason: 'migration_collision', num_layers: layers, num_chunks: chunks } },
    );
  }
  return { rename, count: chunked };
}
