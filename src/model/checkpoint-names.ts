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
  return `${stemOf(output)}-${digitsOf(shard + 1)}-of-${digitsOf(shards)}.safetensors`;
}

function digitsOf(count: number): string {
  return String(count).padStart(5, '0');
}

function stemOf(output: string): string {
  return output.replace(/\.safetensors$/i, '');
}

/** A rank's file, as torch's `HuggingFaceStorageWriter(save_distributed=True)` names them: of one part of the model, of several. */
const RANK_SHARD = /^shard-(?<rank>\d{5,})-(?<rest>model-(?<part>\d{5,})-of-(?<parts>\d{5,})\.safetensors)$/;
/** For messages. */
export const RANK_SHARD_NAMES = 'shard-00001-model-00001-of-00001.safetensors, shard-00002-…';
/** The same of a `FileSystemWriter` that writes safetensors: ranks and their files count from 0. */
const RANK_FILE = /^__(?<rank>\d+)_(?<file>\d+)\.distcp$/;
/** Ranks that are looked for beside the first: each of them has slices of what is sharded, unless copies of a model share them. */
const RANKS_BESIDE = 8;

export function isRankShard(name: string): boolean {
  return RANK_SHARD.test(name);
}

/** How the files of a rank are named; for messages. */
export function namesOfRank(rank: number): string {
  return `shard-${digitsOf(rank)}-…`;
}

/** Which rank's file it is, of which part of a model, and of how many. */
export interface RankPart {
  /** From 1. */
  readonly rank: number;
  readonly part: number;
  readonly of: number;
}

export function partOfRankShard(name: string): RankPart | undefined {
  const groups = RANK_SHARD.exec(name)?.groups;
  return groups === undefined ? undefined : { rank: Number(groups['rank']), part: Number(groups['part']), of: Number(groups['parts']) };
}

/** Names of the files that other ranks would have written beside this one; `later`: it is of a later rank than the first, or a later file. */
export function filesOfOtherRanks(name: string): readonly string[] | 'later' {
  const ranks = Array.from({ length: RANKS_BESIDE }, (_, index) => index + 1);
  const shard = RANK_SHARD.exec(name)?.groups;
  if (shard !== undefined) return Number(shard['rank']) > 1 ? 'later' : ranks.map((rank) => `shard-${digitsOf(rank + 1)}-${shard['rest']}`);
  const file = RANK_FILE.exec(name)?.groups;
  if (file === undefined) return [];
  return Number(file['rank']) > 0 || Number(file['file']) > 0 ? 'later' : ['__0_1.distcp', ...ranks.map((rank) => `__${rank}_0.distcp`)];
}

/** A file that one process wrote for all ranks, as torch's `HuggingFaceStorageWriter` names them: `model-00001-of-00003.safetensors`. */
export function isWholeShard(name: string): boolean {
  return /^model-\d{5,}-of-\d{5,}\.safetensors$/.test(name);
}
