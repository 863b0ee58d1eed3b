/**
 * Plan → torch's zip container, as `torch.save` of torch 2.15 writes it: the same members in the same order, storages aligned to
 * 64 bytes, so that `torch.load` also maps them (`mmap=True`) and computes their offsets (`calculate_storage_offsets`).
 *
 * Invariant: the same plan gives the same bytes, whatever the file is called: the archive's folder is always `archive`, and the
 * serialization id is made from the names and checksums of what is in it.
 */
import { createHash } from 'node:crypto';
import { CheckpointIncompatibleError } from '../../errors.ts';
import { DTYPES, elementCount, tensorBytes, type Dtype } from '../../model/dtype.ts';
import type { LeftOut, Plan, PlannedTensor } from '../../model/plan.ts';
import type { Layout, Segment } from '../layout.ts';
import type { PickledTensor } from '../pickle/write-tensor.ts';
import { writePickle } from '../pickle/write.ts';
import { shareBytes } from '../shared-bytes.ts';
import { layoutZip, type ZipMember } from '../zip/write.ts';
import { ARCHIVE_ROOT } from './anemoi-metadata.ts';
import { composeTree, type TorchFormat } from './compose.ts';

export interface TorchLayout extends Layout {
  /** For each of the plan's tensors, the tensor of the layout with exactly its bytes; null where it is a view of a larger one. */
  readonly heldBy: readonly (number | null)[];
  /** What the format leaves out, beside what the plan has left out before. */
  readonly dropped: readonly LeftOut[];
}

const ALIGNMENT = 64;
/** Digits of each half of a serialization id. */
const ID_DIGITS = 20;

/** Dtypes with a storage class; the others are written over untyped storages, as torch does. */
const STORAGE_CLASSES: Readonly<Partial<Record<Dtype, string>>> = {
  F64: 'DoubleStorage',
  F32: 'FloatStorage',
  F16: 'HalfStorage',
  BF16: 'BFloat16Storage',
  I64: 'LongStorage',
  I32: 'IntStorage',
  I16: 'ShortStorage',
  I8: 'CharStorage',
  U8: 'ByteStorage',
  BOOL: 'BoolStorage',
  C64: 'ComplexFloatStorage',
  C128: 'ComplexDoubleStorage',
};
const WITH_GRADIENT = /^(F|BF|C)\d/;

/** Throws `CheckpointIncompatibleError` for weights that torch has no dtype for. */
export function layoutTorch(plan: Plan, format: TorchFormat): TorchLayout {
  checkWeights(plan.tensors);
  const all = [...plan.tensors, ...(plan.stateTensors ?? [])];
  const views = shareBytes(all, plan.storages);
  const written: number[] = [];
  const keys = new Map<number, number>();
  const tensor = (index: number): PickledTensor | string => {
    const { dtype, shape, origin } = all[index]!;
    const { torch } = DTYPES[dtype];
    if (origin.unsupported !== undefined) return origin.unsupported;
    if (torch === null) return `torch has no dtype ${dtype}`;
    const { holder, offset, stride } = views[index]!;
    let key = keys.get(holder);
    if (key === undefined) keys.set(holder, (key = written.push(holder) - 1));
    const storageClass = STORAGE_CLASSES[dtype] ?? null;
    const held = all[holder]!.shape;
    return {
      key: String(key),
      storageClass,
      numel: storageClass === null ? tensorBytes(dtype, held) : elementCount(held),
      dtype: torch,
      offset,
      shape,
      stride,
      requiresGrad: origin.requiresGrad === true && WITH_GRADIENT.test(dtype),
      parameter: origin.parameter === true,
    };
  };
  const composed = composeTree(plan, format);
  const pickle = writePickle(composed.tree, { tensor });
  const members: ZipMember[] = [
    member('data.pkl', pickle.bytes),
    member('.format_version', '1'),
    member('.storage_alignment', String(ALIGNMENT)),
    member('byteorder', 'little'),
    ...written.map((holder, key): ZipMember => {
      const { dtype, shape } = all[holder]!;
      return { name: `${ARCHIVE_ROOT}/data/${key}`, content: { kind: 'tensor', index: holder, length: tensorBytes(dtype, shape) } };
    }),
    member('version', '3\n'),
  ];
  const attachments: PlannedTensor[] = [];
  for (const each of plan.attachments ?? []) {
    if ('text' in each) members.push(member(each.name, each.text));
    else {
      const index = all.length + attachments.push(attached(each, plan)) - 1;
      const length = plan.storages[each.storage]!.length;
      members.push({ name: `${ARCHIVE_ROOT}/${each.name}`, content: { kind: 'tensor', index, length } });
    }
  }
  members.push({ name: `${ARCHIVE_ROOT}/.data/serialization_id`, content: serializationId(members, plan) });
  const inOrder = [...written, ...attachments.map((_, index) => all.length + index)];
  const place = new Map(inOrder.map((index, at) => [index, at]));
  const tensors = [...written.map((holder) => all[holder]!), ...attachments];
  const { segments, size } = layoutZip(
    members.map(({ name, content }) => ({
      name,
      content: content.kind === 'tensor' ? { ...content, index: place.get(content.index)! } : content,
    })),
    ALIGNMENT,
  );
  return {
    format,
    size,
    tensors,
    segments,
    heldBy: plan.tensors.map((_, index) => (views[index]!.same ? (place.get(views[index]!.holder) ?? null) : null)),
    dropped: [...composed.dropped, ...pickle.dropped],
  };
}

/** A member of the source's archive as a tensor of bytes: it is copied, digested and checked as such. */
function attached({ name, storage }: { readonly name: string; readonly storage: number }, { storages }: Plan): PlannedTensor {
  const shape = [storages[storage]!.length];
  return { name, dtype: 'U8', shape, origin: { dtype: 'U8', shape, storage, offset: 0 } };
}

function member(name: string, content: string | Uint8Array): ZipMember {
  return {
    name: `${ARCHIVE_ROOT}/${name}`,
    content: { kind: 'bytes', bytes: typeof content === 'string' ? Buffer.from(content) : content },
  };
}

/** Two numbers of 20 digits: of the members' names, and of their checksums, where torch has hashes of its own of both. */
function serializationId(members: readonly ZipMember[], { attachments = [] }: Plan): Segment {
  const names = createHash('sha256');
  for (const { name } of members) names.update(`${name}\n`);
  const first = digits(names.digest());
  const tensors = members.filter(({ content }) => content.kind === 'tensor').length;
  const pickle = members[0]!.content;
  return {
    kind: 'late',
    length: 2 * ID_DIGITS,
    bytes: (crc32OfTensor) => {
      const sums = createHash('sha256');
      if (pickle.kind === 'bytes') sums.update(pickle.bytes);
      for (const each of attachments) if ('text' in each) sums.update(each.text);
      for (let index = 0; index < tensors; index++) sums.update(`${crc32OfTensor(index)}\n`);
      return Buffer.from(first + digits(sums.digest()));
    },
  };
}

function digits(digest: Buffer): string {
  return digest.readBigUInt64LE(0).toString().padStart(ID_DIGITS, '0');
}

function checkWeights(tensors: readonly PlannedTensor[]): void {
  const strange = tensors.filter(({ dtype, origin }) => DTYPES[dtype].torch === null || origin.unsupported !== undefined);
  if (strange.length === 0) return;
  const shown = strange.slice(0, 5).map(({ name, dtype, origin }) => `${name} (${origin.unsupported ?? dtype})`);
  throw new CheckpointIncompatibleError(
    `torch has no form for ${strange.length} of the tensors: ${shown.join(', ')}. Leave them out (\`exclude\` of \`modifier.select\`), cast them, or publish as safetensors.`,
    { details: { reason: 'dtype_not_in_format', tensors: strange.slice(0, 100).map(({ name, dtype }) => ({ name, dtype })) } },
  );
}
