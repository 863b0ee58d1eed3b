/**
 * What publishing a plan in a format comes to: one file, or shards and the index that names them.
 *
 * Invariant: files are listed in the order of publishing, the one that makes the set complete last; every tensor of the plan
 * stands in exactly one of them.
 */
import { CheckpointConfigError } from '../errors.ts';
import { shardIndexName, shardName } from '../model/checkpoint-names.ts';
import { tensorBytes } from '../model/dtype.ts';
import { withFloat4As } from '../model/float4.ts';
import type { Format } from '../model/header.ts';
import type { LeftOut, Plan } from '../model/plan.ts';
import { topLevelKeys } from '../model/tree.ts';
import type { Layout } from './layout.ts';
import { layoutSafetensors, type Arrange } from './safetensors/layout.ts';
import { tiedNames } from './shared-bytes.ts';
import { layoutTorch } from './torch/layout.ts';

/** What becomes of one plan under a format; another number where that changes, so that what is there from before is written anew. */
export const REVISIONS: Readonly<Record<Format, number>> = { safetensors: 2, lightning: 1, pytorch: 1, state_dict: 1 };

export interface OutputFile {
  /** Replaces the last part of the output's URI; null: the URI itself. */
  readonly name: string | null;
  readonly layout: Layout;
}

export interface Outputs {
  /** The plan under the format's own names of dtypes: what the files hold. */
  readonly plan: Plan;
  readonly files: readonly OutputFile[];
  /** The index of shards, to be written when they are there. */
  readonly index: { readonly name: string; readonly text: string } | null;
  /** Of one of the plan's tensors, by its index: its file and place among the layout's tensors; null: a view of one of them. */
  readonly placeOf: (index: number) => { readonly file: number; readonly tensor: number } | null;
  /** What the format leaves out, beside what the plan has left out before. */
  readonly dropped: readonly LeftOut[];
  /** Names of one tensor that the format had to write under each of them. */
  readonly tied: readonly (readonly string[])[];
}

export interface OutputOptions {
  readonly format: Format;
  /** The last part of the output's URI. */
  readonly name: string;
  /** Most bytes of tensors in a file; null: one file, whatever its size. */
  readonly shardSize: number | null;
  /** Whether training state that the plan carries goes along where the format has a place for it. */
  readonly trainingState: boolean;
  /** In which order tensors stand in a safetensors file, where not as usual. */
  readonly arrange?: Arrange | undefined;
}

/** Throws `CheckpointIncompatibleError` where the format has no form for a weight. */
export function layoutOutputs(asked: Plan, options: OutputOptions): Outputs {
  const { format, shardSize } = options;
  const given = withFloat4As(asked, format === 'safetensors' ? 'F4' : 'F4_X2');
  const kept = options.trainingState || given.trainingState === undefined;
  const plan = kept ? given : withoutTrainingState(given);
  const left = kept ? [] : trainingKeys(given).map((what) => ({ what, reason: 'not asked for' }));
  if (format === 'safetensors') {
    const dropped = [
      ...trainingKeys(plan).map((what) => ({ what, reason: 'safetensors holds tensors only; lightning and pytorch keep it' })),
      ...(plan.attachments ?? []).map(({ name: what }) => ({ what, reason: 'safetensors has no place for members of an archive' })),
    ];
    const sharded = shardSize === null ? [] : shards(plan, shardSize);
    const named = withFormat(plan);
    const written = sharded.length > 1 ? safetensorsShards(named, sharded, options) : safetensorsFile(named, options);
    return { ...written, plan: given, dropped: [...left, ...dropped], tied: tiedNames(plan.tensors, plan.storages) };
  }
  checkShards(format, shardSize);
  const layout = layoutTorch(plan, format);
  return {
    plan: given,
    files: [{ name: null, layout }],
    index: null,
    placeOf: (index) => (layout.heldBy[index] === null ? null : { file: 0, tensor: layout.heldBy[index]! }),
    dropped: [...left, ...layout.dropped],
    tied: [],
  };
}

/** transformers 4 fails on a file without any metadata, and all its versions refuse one that does not say whose format it is. */
function withFormat(plan: Plan): Plan {
  const { metadata } = plan;
  return Object.hasOwn(metadata, 'format') ? plan : { ...plan, metadata: { ...metadata, format: 'pt' } };
}

/** Shards are of safetensors alone. */
export function checkShards(format: Format, shardSize: unknown): void {
  if (format !== 'safetensors' && (shardSize ?? null) !== null)
    throw new CheckpointConfigError(`\`shard_size\` is for safetensors; ${format} is written as one file.`, 'shard_size');
}

function safetensorsFile(plan: Plan, { arrange }: OutputOptions): Pick<Outputs, 'files' | 'index' | 'placeOf'> {
  const layout = layoutSafetensors(plan, arrange);
  return { files: [{ name: null, layout }], index: null, placeOf: (tensor) => ({ file: 0, tensor }) };
}

function safetensorsShards(
  plan: Plan,
  sharded: readonly (readonly number[])[],
  { name, arrange }: OutputOptions,
): Pick<Outputs, 'files' | 'index' | 'placeOf'> {
  const places: { file: number; tensor: number }[] = [];
  const nameOf = (shard: number): string => shardName(name, shard, sharded.length);
  const files = sharded.map((members, shard): OutputFile => {
    for (let tensor = 0; tensor < members.length; tensor++) places[members[tensor]!] = { file: shard, tensor };
    return { name: nameOf(shard), layout: layoutSafetensors({ ...plan, tensors: members.map((index) => plan.tensors[index]!) }, arrange) };
  });
  const total = plan.tensors.reduce((sum, { dtype, shape }) => sum + tensorBytes(dtype, shape), 0);
  const names = plan.tensors.map((tensor, index) => [tensor.name, nameOf(places[index]!.file)] as const);
  names.sort(([a], [b]) => (a < b ? -1 : 1));
  // Written by hand: as an object, a tensor named __proto__ or 7 would be lost or moved.
  const map = names.map(([tensor, file]) => `    ${JSON.stringify(tensor)}: ${JSON.stringify(file)}`);
  const text = `{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": {\n${map.join(',\n')}\n  }\n}\n`;
  return { files, index: { name: shardIndexName(name), text }, placeOf: (index) => places[index]! };
}

/** In the plan's order; a tensor larger than the limit has a file of its own. */
function shards({ tensors }: Plan, limit: number): readonly (readonly number[])[] {
  const found: number[][] = [[]];
  let room = limit;
  for (const [index, { dtype, shape }] of tensors.entries()) {
    const bytes = tensorBytes(dtype, shape);
    if (bytes > room && found.at(-1)!.length > 0) {
      found.push([]);
      room = limit;
    }
    found.at(-1)!.push(index);
    room -= bytes;
  }
  return found;
}

function trainingKeys({ trainingState }: Plan): readonly string[] {
  return trainingState === undefined ? [] : topLevelKeys(trainingState);
}

function withoutTrainingState({ trainingState: _state, stateTensors: _tensors, ...plan }: Plan): Plan {
  return plan;
}
