/** safetensors → header, by the rules of the reference (safetensors 0.8): length, JSON, dtypes, no overlap, no hole. */
import { CheckpointLoadError } from '../../errors.ts';
import { pin, type ByteSource } from '../../model/byte-source.ts';
import { DTYPES, isDtype, type Dtype } from '../../model/dtype.ts';
import { NO_TRAINING } from '../../model/header.ts';
import type { Header, Storage, Tensor, Weight } from '../../model/header.ts';
import { JsonScanner, JsonSyntaxError } from './json-scanner.ts';
import { HEADER_MAX } from './layout.ts';

const LENGTH_SIZE = 8;
/** The reference has no such limit but that of the header's bytes; the largest public models have some 10,000 in a file. */
export const TENSORS_MAX = 600_000;
/** The reference has no such limit, torch and NumPy have 64. */
const DIMENSIONS_MAX = 1000;
/** Sizes of all shapes, of one file or a set: five for each of as many tensors as may be. */
export const SIZES_MAX = 5 * TENSORS_MAX;
/** Characters of a field of a tensor, or of its slice, that is none of the format's. */
export const UNKNOWN_MAX = 4096;
/** Entries of the metadata; of real files some tens. */
const METADATA_MAX = 100_000;
const MAX_U64 = 2n ** 64n - 1n;

interface Entry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export async function readSafetensors(source: ByteSource): Promise<Header> {
  const bad = (what: string): CheckpointLoadError =>
    new CheckpointLoadError(`${source.uri} is not a valid safetensors file: ${what}.`, source.uri);
  if (source.size < LENGTH_SIZE) throw bad(`it has ${source.size} bytes, the length of its header alone takes ${LENGTH_SIZE}`);
  const length = Buffer.from(await source.read(0, LENGTH_SIZE)).readBigUInt64LE(0);
  if (length > BigInt(HEADER_MAX)) throw bad(`its header should have ${length} bytes; the format allows ${HEADER_MAX}`);
  const data = LENGTH_SIZE + Number(length);
  if (data > source.size) throw bad(`its header should end at ${data}, the file ends at ${source.size}: it is truncated`);
  const bytes = await source.read(LENGTH_SIZE, Number(length));
  if (bytes[0] !== 0x7b) throw bad('its header does not begin with `{`');
  let parsed: { entries: readonly Entry[]; metadata: Record<string, string> };
  try {
    parsed = parseHeader(decode(bytes));
  } catch (error) {
    if (error instanceof JsonSyntaxError) throw bad(`its header: ${error.message}`);
    throw error;
  }
  checkRanges(parsed.entries, source.size - data, bad);
  const storages: Storage[] = [];
  const tensors: Tensor[] = [];
  const weights: Weight[] = [];
  for (const { name, dtype, shape, begin, end } of parsed.entries) {
    const index = storages.length;
    storages.push({ file: 0, location: { kind: 'range', offset: data + begin }, length: end - begin });
    tensors.push({ dtype, shape, storage: index, offset: 0 });
    weights.push({ name, tensor: index });
  }
  return {
    format: 'safetensors',
    container: 'safetensors',
    files: [pin(source)],
    storages,
    tensors,
    weights,
    nonTensors: [],
    stateDictKey: null,
    training: NO_TRAINING,
    metadata: parsed.metadata,
    globals: [],
    findings: [],
  };
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new JsonSyntaxError('it is not valid UTF-8');
  }
}

function parseHeader(text: string): { entries: readonly Entry[]; metadata: Record<string, string> } {
  const json = new JsonScanner(text);
  const entries: Entry[] = [];
  const metadata: [string, string][] = [];
  let sizes = 0;
  json.object((name) => {
    // The reference takes `null` for none.
    if (name === '__metadata__')
      return json.acceptNull()
        ? undefined
        : json.object((key) => {
            if (metadata.push([key, json.string()]) > METADATA_MAX) throw json.error(`more than ${METADATA_MAX} entries of metadata`);
          });
    const entry = parseEntry(json, name, entries.at(-1));
    if (entries.push(entry) > TENSORS_MAX) throw json.error(`more than ${TENSORS_MAX} tensors`);
    if ((sizes += entry.shape.length) > SIZES_MAX) throw json.error(`more than ${SIZES_MAX} sizes in its shapes`);
  });
  json.end();
  return { entries, metadata: Object.fromEntries(metadata) };
}

/** Takes the shape of the entry before it where that is the same. */
function parseEntry(json: JsonScanner, name: string, before: Entry | undefined): Entry {
  let dtype: Dtype | undefined;
  let shape: readonly number[] | undefined;
  let offsets: readonly number[] | undefined;
  json.object((field) => {
    if (field === 'dtype') {
      const text = json.string();
      if (!isDtype(text) || !DTYPES[text].safetensors) throw json.error(`tensor ${name}: unknown dtype ${JSON.stringify(text)}`);
      dtype = text;
    } else if (field === 'shape') shape = json.unsignedList(DIMENSIONS_MAX);
    else if (field === 'data_offsets') offsets = json.unsignedList(2);
    // As the reference does, which knows no more of it.
    else json.anyValue(UNKNOWN_MAX);
  });
  if (dtype === undefined || shape === undefined || offsets === undefined)
    throw json.error(`tensor ${name} lacks dtype, shape or data_offsets`);
  const [begin, end] = offsets;
  if (offsets.length !== 2 || begin === undefined || end === undefined || end < begin)
    throw json.error(`tensor ${name}: data_offsets must be [begin, end]`);
  if (plainBytes(shape, DTYPES[dtype].bits) !== end - begin) checkBytes(json, name, shape, dtype, end - begin);
  const known = before?.shape;
  const isKnown = known?.length === shape.length && known.every((size, axis) => size === shape![axis]);
  return { name, dtype, shape: isKnown ? known : shape, begin, end };
}

/** The usual case in plain numbers; NaN where they could be inexact, or are not whole bytes. */
function plainBytes(shape: readonly number[], bits: number): number {
  let product = bits;
  for (const size of shape) {
    product *= size;
    if (product > Number.MAX_SAFE_INTEGER) return Number.NaN;
  }
  return product % 8 === 0 ? product / 8 : Number.NaN;
}

function checkBytes(json: JsonScanner, name: string, shape: readonly number[], dtype: Dtype, bytes: number): void {
  const bits = elements(shape) * BigInt(DTYPES[dtype].bits);
  if (bits > MAX_U64) throw json.error(`tensor ${name}: its shape ${JSON.stringify(shape.slice(0, 10))} overflows 64 bits`);
  if (bits % 8n !== 0n) throw json.error(`tensor ${name}: ${bits} bits are not a whole number of bytes`);
  if (bits / 8n !== BigInt(bytes)) throw json.error(`tensor ${name}: shape and dtype take ${bits / 8n} bytes, data_offsets ${bytes}`);
}

/** Multiplied in order, as the reference does: an overflow on the way stays one, whatever 0 follows. Stops there. */
function elements(shape: readonly number[]): bigint {
  let product = 1n;
  for (const size of shape) {
    product *= BigInt(size);
    if (product > MAX_U64) return product;
  }
  return product;
}

/** The reference demands that the tensors fill the data without overlap or hole. */
function checkRanges(entries: readonly Entry[], size: number, bad: (what: string) => CheckpointLoadError): void {
  const inOrder = [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const { name, begin, end } of inOrder) {
    if (begin !== at) throw bad(`tensor ${name} begins at ${begin}, expected ${at}: ${begin < at ? 'tensors overlap' : 'there is a hole'}`);
    at = end;
  }
  if (at !== size) throw bad(`its tensors end at ${at}, its data at ${size}: it is truncated or has bytes at its end`);
}
