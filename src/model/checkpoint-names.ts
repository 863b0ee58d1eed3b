/** What names of files say of checkpoints. */
import { editDistance } from './suggestions.ts';

/** Names that are compared with a wanted one. */
const COMPARED = 1000;

/** As people name checkpoints; of any other name nothing is known. */
export function isCheckpointName(name: string): boolean {
  return /\.(?:ckpt|pt|pth|bin|safetensors)$/i.test(name);
}

/** The checkpoints among `names`, those first whose names are nearest to the wanted one: at most `most`. */
export function nearCheckpoints(wanted: string, names: readonly string[], most = 3): readonly string[] {
  return names
    .filter(isCheckpointName)
    .slice(0, COMPARED)
    .map((name) => ({ name, distance: editDistance(wanted, name) }))
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, most)
    .map(({ name }) => name);
}

/** True for a file name that says it is an index of shards. */
export function isIndexName(uri: string): boolean {
  return /\.index\.json$/i.test(uri) || isVariantIndexName(uri);
}

/** As Hugging Face's libraries name the index of a variant: `model.safetensors.index.fp16.json`. */
export function isVariantIndexName(uri: string): boolean {
  return /\.(?:safetensors|bin)\.index\.[^./\\]+\.json$/i.test(uri);
}

/** The index of the shards of an output, as Hugging Face's libraries name it: `model.safetensors` → `model.safetensors.index.json`. */
export function shardIndexName(output: string): string {
  return `${stemOf(output)}.safetensors.index.json`;
}

/** One of the shards of an output, by its index: `model-00001-of-00003.safetensors`. */
export function shardName(output: string, shard: number, shards: number): string {
  const digits = (value: number): string => String(value).padStart(5, '0');
  return `${stemOf(output)}-${digits(shard + 1)}-of-${digits(shards)}.safetensors`;
}

function stemOf(output: string): string {
  return output.replace(/\.safetensors$/i, '');
}
