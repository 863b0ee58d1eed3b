/**
 * Tensor bytes of one dtype → bytes of another of its kind, as torch's `.to()` gives them, bit for bit.
 *
 * Invariant: any range of whole output elements can be filled on its own and memory is bounded by one chunk, whatever the size of
 * the tensor. 8- and 16-bit sources go through a table, F32 through vector instructions or a table, F64 through F32 first, as in torch.
 * Hosts are little-endian, as everywhere in this project.
 */
import { CheckpointIncompatibleError } from '../../errors.ts';
import { bytesPerElement, dtypeKind, isCastable, type Dtype } from '../../model/dtype.ts';
import type { TensorFill } from '../copy/tensor-reader.ts';
import { laneCast } from './cast-lanes.ts';
import { F32_INFINITY, fromF32Bits, isBeyond, isSmallFloat, toF32Bits, type SmallFloat } from './float-bits.ts';

/** Source bytes read and converted at a time: stays in the processor's cache. */
const CHUNK = 512 * 1024;

/** What happened while values were converted. */
export interface CastReport {
  /** Values that were not NaN and lay beyond the new dtype's range: they became infinite, NaN, or its largest value. */
  overflowed: number;
}

/** Converts all elements of `source` into `target`; both begin at a multiple of their element size. Gives the number that overflowed. */
type Convert = (source: Uint8Array, target: Uint8Array) => number;

/**
 * A fill of `to`'s bytes over a fill of `from`'s: offsets and lengths count output bytes and are multiples of its element size.
 * Equal dtypes give the fill back. Throws `CheckpointIncompatibleError` for dtypes of different kinds.
 */
export function castFill(fill: TensorFill, from: Dtype, to: Dtype, report?: CastReport, chunk = CHUNK): TensorFill {
  if (from === to) return fill;
  const convert = converter(from, to);
  const [sourceSize, targetSize] = [bytesPerElement(from), bytesPerElement(to)];
  let source = new Uint8Array(0);
  let aligned = new Uint8Array(0);
  return async (offset, target, signal) => {
    const most = chunk / sourceSize;
    const count = target.length / targetSize;
    for (let done = 0; done < count; done += most) {
      const take = Math.min(most, count - done);
      if (source.length < take * sourceSize) source = new Uint8Array(take * sourceSize);
      const input = source.subarray(0, take * sourceSize);
      await fill((offset / targetSize + done) * sourceSize, input, signal);
      const output = target.subarray(done * targetSize, (done + take) * targetSize);
      let overflowed: number;
      if (output.byteOffset % targetSize === 0) overflowed = convert(input, output);
      else {
        if (aligned.length < output.length) aligned = new Uint8Array(output.length);
        overflowed = convert(input, aligned.subarray(0, output.length));
        output.set(aligned.subarray(0, output.length));
      }
      if (report !== undefined) report.overflowed += overflowed;
    }
  };
}

const converters = new Map<string, Convert>();

/** Made once for each pair: the tables cost up to a few milliseconds. */
function converter(from: Dtype, to: Dtype): Convert {
  const key = `${from} ${to}`;
  const known = converters.get(key);
  if (known !== undefined) return known;
  const made = makeConverter(from, to);
  converters.set(key, made);
  return made;
}

function makeConverter(from: Dtype, to: Dtype): Convert {
  if (!isCastable(from, to))
    throw new CheckpointIncompatibleError(
      `${from} does not convert to ${to}: values convert within floats, integers and complex only, and F4 and F6 not at all.`,
      { details: { from, to } },
    );
  if (dtypeKind(from) === 'integer') return integers(from, to);
  const [real, wanted] = [componentOf(from), componentOf(to)];
  if (isSmallFloat(real)) return table(real, wanted);
  if (real === 'F64') return wanted === 'F32' ? narrowDouble : fromDouble(fromSingle(wanted), wanted);
  return fromSingle(wanted);
}

/** A complex number is two floats, one after the other. */
function componentOf(dtype: Dtype): Dtype {
  return ({ C32: 'F16', C64: 'F32', C128: 'F64' } as Partial<Record<Dtype, Dtype>>)[dtype] ?? dtype;
}

function table(from: SmallFloat, to: Dtype): Convert {
  const size = 2 ** (8 * bytesPerElement(from));
  const words = (bytes: Uint8Array): Uint8Array | Uint16Array => (size === 256 ? bytes : u16(bytes));
  const singles = Uint32Array.from({ length: size }, (_, bits) => toF32Bits(from, bits));
  if (to === 'F64') {
    // Every small float's mantissa fits into the upper half of an F64's bits, but for the payload of a NaN.
    const doubles = new Float64Array(size);
    narrowless(singles, u32(new Uint8Array(doubles.buffer)));
    const [low, high] = halves(doubles);
    return (source, target) => {
      const input = words(source);
      const output = u32(target);
      for (let i = 0; i < input.length; i++) {
        output[2 * i] = low[input[i]!]!;
        output[2 * i + 1] = high[input[i]!]!;
      }
      return 0;
    };
  }
  const results = to === 'F32' ? singles : Uint32Array.from(singles, (bits) => fromF32Bits(to as SmallFloat, bits, false));
  const beyond = to === 'F32' ? undefined : Uint8Array.from(singles, (bits) => (isBeyond(to as SmallFloat, bits) ? 1 : 0));
  const anyBeyond = beyond?.includes(1) === true;
  return (source, target) => {
    const input = words(source);
    const output = wordsOf(target, bytesPerElement(to));
    for (let i = 0; i < input.length; i++) output[i] = results[input[i]!]!;
    if (!anyBeyond) return 0;
    let overflowed = 0;
    for (let i = 0; i < input.length; i++) overflowed += beyond[input[i]!]!;
    return overflowed;
  };
}

function fromSingle(to: Dtype): Convert {
  if (to === 'F64')
    return (source, target) => {
      narrowless(u32(source), u32(target));
      return 0;
    };
  if (to === 'F16' || to === 'BF16') return laneCast(to) ?? oneByOne(to);
  return toEighth(to as SmallFloat);
}

/** For machines without lanes. */
function oneByOne(to: SmallFloat): Convert {
  return (source, target) => {
    const input = u32(source);
    const output = u16(target);
    let overflowed = 0;
    for (let i = 0; i < input.length; i++) {
      const bits = input[i]!;
      output[i] = fromF32Bits(to, bits, true);
      if (isBeyond(to, bits)) overflowed++;
    }
    return overflowed;
  };
}

/** 8-bit kinds round by the upper half of the F32 and by whether anything is below it. */
function toEighth(to: SmallFloat): Convert {
  const keyed = (of: (bits: number) => number): Uint8Array =>
    Uint8Array.from({ length: 2 * 65536 }, (_, key) => of((((key >>> 1) << 16) | (key & 1)) >>> 0));
  const results = keyed((bits) => fromF32Bits(to, bits, true));
  const beyond = keyed((bits) => (isBeyond(to, bits) ? 1 : 0));
  return (source, target) => {
    const input = u32(source);
    let overflowed = 0;
    for (let i = 0; i < input.length; i++) {
      const bits = input[i]!;
      const key = ((bits >>> 16) << 1) | ((bits & 0xffff) === 0 ? 0 : 1);
      target[i] = results[key]!;
      overflowed += beyond[key]!;
    }
    return overflowed;
  };
}

/** F64 → F32: the processor rounds; NaNs are done as bits, for engines need not keep their payload. */
const narrowDouble: Convert = (source, target) => {
  const input = new Float64Array(source.buffer, source.byteOffset, source.length / 8);
  const words = u32(source);
  const output = new Float32Array(target.buffer, target.byteOffset, target.length / 4);
  const bits = u32(target);
  let overflowed = 0;
  for (let i = 0; i < input.length; i++) {
    const value = input[i]!;
    output[i] = value;
    const result = bits[i]! & 0x7fffffff;
    if (result < F32_INFINITY) continue;
    const high = words[2 * i + 1]!;
    if (Number.isNaN(value)) bits[i] = (high & 0x80000000) | 0x7fc00000 | ((high & 0x7ffff) << 3) | (words[2 * i]! >>> 29);
    else if (Number.isFinite(value)) overflowed++;
  }
  return overflowed;
};

/** Through F32, as torch does: its small floats are made from nothing else, so some values are rounded twice. */
function fromDouble(single: Convert, to: Dtype): Convert {
  // A finite F64 may be infinite as F32; kinds without infinity count that in the second step.
  const hasInfinity = to === 'F16' || to === 'BF16' || to === 'F8_E5M2';
  let middle = new Uint8Array(0);
  return (source, target) => {
    if (middle.length < source.length / 2) middle = new Uint8Array(source.length / 2);
    const singles = middle.subarray(0, source.length / 2);
    const first = narrowDouble(source, singles);
    const second = single(singles, target);
    return hasInfinity ? first + second : second;
  };
}

/** F32 bits → F64 bits (low word first): exact, with every NaN made quiet. */
function narrowless(singles: Uint32Array, doubles: Uint32Array): void {
  const values = new Float32Array(singles.buffer, singles.byteOffset, singles.length);
  const results = new Float64Array(doubles.buffer, doubles.byteOffset, singles.length);
  for (let i = 0; i < singles.length; i++) {
    const value = values[i]!;
    results[i] = value;
    if (value === value) continue;
    const bits = singles[i]!;
    doubles[2 * i] = (bits & 7) << 29;
    doubles[2 * i + 1] = (bits & 0x80000000) | 0x7ff80000 | ((bits & 0x7fffff) >>> 3);
  }
}

function halves(doubles: Float64Array): readonly [low: Uint32Array, high: Uint32Array] {
  const words = new Uint32Array(doubles.buffer);
  return [Uint32Array.from(doubles, (_, i) => words[2 * i]!), Uint32Array.from(doubles, (_, i) => words[2 * i + 1]!)];
}

/** Cut off the upper bytes, or repeat the sign (zero for unsigned sources) above them. */
function integers(from: Dtype, to: Dtype): Convert {
  const [narrow, wide] = [bytesPerElement(from), bytesPerElement(to)];
  const signed = from.startsWith('I');
  return (source, target) => {
    const count = source.length / narrow;
    const kept = Math.min(narrow, wide);
    for (let i = 0; i < count; i++) {
      for (let byte = 0; byte < kept; byte++) target[i * wide + byte] = source[i * narrow + byte]!;
      const fill = signed && source[i * narrow + narrow - 1]! >= 0x80 ? 0xff : 0;
      for (let byte = kept; byte < wide; byte++) target[i * wide + byte] = fill;
    }
    return 0;
  };
}

function wordsOf(bytes: Uint8Array, size: number): Uint8Array | Uint16Array | Uint32Array {
  return size === 1 ? bytes : size === 2 ? u16(bytes) : u32(bytes);
}

function u16(bytes: Uint8Array): Uint16Array {
  return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
}

function u32(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}
