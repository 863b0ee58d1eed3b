/**
 * Plan → safetensors file, byte for byte as the reference writes it (safetensors 0.8, `tensor.rs`): tensors by dtype
 * descending, then name, so that all are aligned; header padded with spaces to 8 bytes; no holes.
 */
import { CheckpointIncompatibleError } from '../../errors.ts';
import { DTYPES, tensorBytes, type Dtype } from '../../model/dtype.ts';
import { jsonText } from '../../model/json-text.ts';
import { publishedMetadata, type Plan, type PlannedTensor } from '../../model/plan.ts';
import type { Layout, Segment } from '../layout.ts';
import { isWellFormed } from '../unicode.ts';

/** The reference refuses longer headers. */
export const HEADER_MAX = 100_000_000;
/** Entries of a header that become bytes together. */
const PIECE = 1024;
const RESERVED = '__metadata__';
const NO_HEADER = Buffer.alloc(0);
/** The reference's order of dtypes, which is their alignment. */
const RANK = new Map((Object.keys(DTYPES) as Dtype[]).map((dtype, index) => [dtype, index]));

/** Puts the plan's tensors, given by dtype and name, in another order; dtypes stay together, so that all are still aligned. */
export type Arrange = (plan: Plan, order: readonly number[]) => readonly number[];

export function layoutSafetensors(plan: Plan, arrange: Arrange = (_, order) => order): Layout {
  checkTensors(plan.tensors);
  const groups = orderOf(plan.tensors);
  if (hasTwins(plan.tensors, groups)) throw twinsError(plan.tensors);
  const order = groups.length === 1 ? groups[0]! : groups.flat();
  const header = headerText();
  // The header comes first, and is known last.
  const segments: Segment[] = [{ kind: 'bytes', bytes: NO_HEADER }];
  const metadata = Object.entries(publishedMetadata(plan)).sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  checkTexts(metadata.flat(), 'texts of the metadata');
  if (metadata.length > 0)
    header.add(`"${RESERVED}":{${metadata.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`);
  let end = 0;
  // Neighbours are often alike.
  let like: Pick<PlannedTensor, 'dtype' | 'shape'> | undefined;
  let fields = '';
  let length = 0;
  const arranged = arrange(plan, order);
  for (let place = 0; place < arranged.length; place++) {
    const index = arranged[place]!;
    const { name, dtype, shape } = plan.tensors[index]!;
    if (like?.dtype !== dtype || like.shape !== shape) {
      like = { dtype, shape };
      fields = `:{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[`;
      length = tensorBytes(dtype, shape);
    }
    header.add(`${jsonText(name)}${fields}${end},${(end += length)}]}`);
    segments.push({ kind: 'tensor', index, length });
  }
  const pieces = header.pieces();
  const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
  const padded = Math.ceil(bytes / 8) * 8;
  if (padded > HEADER_MAX)
    throw new CheckpointIncompatibleError(
      `The header would have ${padded} bytes; safetensors allows ${HEADER_MAX}. Publish fewer tensors per file.`,
    );
  const start = Buffer.allocUnsafe(8 + padded);
  start.writeBigUInt64LE(BigInt(padded), 0);
  let at = 8;
  for (const piece of pieces) at += piece.copy(start, at);
  start.fill(' ', at);
  segments[0] = { kind: 'bytes', bytes: start };
  return {
    format: 'safetensors',
    size: start.length + end,
    tensors: plan.tensors,
    segments,
  };
}

/** Entries of an object, turned into bytes as they come: many thousand strings are more than their bytes. */
function headerText(): { readonly add: (entry: string) => void; readonly pieces: () => readonly Buffer[] } {
  const pieces: Buffer[] = [];
  let text = '{';
  let entries = 0;
  return {
    add(entry) {
      text += entries++ === 0 ? entry : `,${entry}`;
      if (entries % PIECE > 0) return;
      pieces.push(Buffer.from(text));
      text = '';
    },
    pieces: () => [...pieces, Buffer.from(`${text}}`)],
  };
}

/** Indexes of the tensors as they stand in the file, apart by their dtypes. */
function orderOf(tensors: readonly PlannedTensor[]): readonly (readonly number[])[] {
  const byDtype = new Map<Dtype, number[]>();
  for (let index = 0; index < tensors.length; index++) {
    const { dtype } = tensors[index]!;
    const group = byDtype.get(dtype);
    if (group === undefined) byDtype.set(dtype, [index]);
    else group.push(index);
  }
  const names = tensors.map(({ name }) => name);
  // At once: a text for each of very many names takes its time to be looked through.
  const hasSurrogates = SURROGATES.test(names.join(''));
  if (hasSurrogates) checkTexts(names, 'names');
  const inOrder = hasSurrogates ? byteOrder : textOrder;
  const ranked = [...byDtype].sort(([a], [b]) => RANK.get(b)! - RANK.get(a)!);
  return ranked.map(([, group]) => group.sort((a, b) => inOrder(names[a]!, names[b]!)));
}

/** Whether two names are equal: in order they are neighbours, and names of different dtypes are looked up, for the most part a few. */
function hasTwins(tensors: readonly PlannedTensor[], groups: readonly (readonly number[])[]): boolean {
  const [largest = [], ...others] = groups.toSorted((a, b) => b.length - a.length);
  const names = new Set<string>();
  for (const group of others) for (const index of group) names.add(tensors[index]!.name);
  if (names.size < others.reduce((sum, { length }) => sum + length, 0)) return true;
  let before: string | undefined;
  for (const index of largest) {
    const { name } = tensors[index]!;
    if (name === before || (names.size > 0 && names.has(name))) return true;
    before = name;
  }
  return false;
}

/** Characters of two code units: their order is not that of their bytes. */
const SURROGATES = /[\ud800-\udfff]/;

/** By UTF-8 bytes, as the reference sorts. */
function byteOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The same where all characters are of one code unit. */
function textOrder(a: string, b: string): number {
  return a < b ? -1 : a === b ? 0 : 1;
}

function checkTensors(tensors: readonly PlannedTensor[]): void {
  const unnamed = tensors.filter(({ dtype, origin }) => !DTYPES[dtype].safetensors || origin.unsupported !== undefined);
  if (unnamed.length > 0) {
    const shown = unnamed.slice(0, 5).map(({ name, dtype, origin }) => `${name} (${origin.unsupported ?? dtype})`);
    throw new CheckpointIncompatibleError(
      `safetensors has no form for ${unnamed.length} of the tensors: ${shown.join(', ')}. Leave them out (\`exclude\` of \`modifier.select\`), or publish in another format.`,
      {
        details: { reason: 'dtype_not_in_format', tensors: unnamed.slice(0, 100).map(({ name, dtype }) => ({ name, dtype })) },
      },
    );
  }
  if (tensors.some(({ name }) => name === RESERVED))
    throw new CheckpointIncompatibleError(
      `A tensor is named ${RESERVED}, which safetensors reserves for metadata. Rename it or leave it out.`,
      { details: { reason: 'reserved_name', name: RESERVED } },
    );
}

/** JSON's escapes would write them, and no reader of safetensors takes them. */
function checkTexts(texts: readonly string[], what: string): void {
  const bad = texts.filter((text) => !isWellFormed(text));
  if (bad.length === 0) return;
  const shown = bad.slice(0, 5).map((text) => JSON.stringify(text.slice(0, 200)));
  throw new CheckpointIncompatibleError(
    `safetensors has no form for ${bad.length} of the ${what}, which hold lone surrogates: ${shown.join(', ')}. Rename them or leave them out.`,
    { details: { reason: 'lone_surrogate', texts: shown } },
  );
}

function twinsError(tensors: readonly PlannedTensor[]): CheckpointIncompatibleError {
  const names = new Set(tensors.map(({ name }) => name));
  const { name } = tensors.find((each) => !names.delete(each.name))!;
  return new CheckpointIncompatibleError(`Two tensors are named ${name}.`, { details: { reason: 'duplicate_name', name } });
}
