/**
 * Floats as bits: from any kind to F32 and from F32 to any kind, one value at a time. Tables and fast loops are made from these.
 *
 * All rules are those of torch 2.15's `.to()` on x86-64, NaN payloads included (`c10/util/Float8_*.h`, `Half.h`, `BFloat16.h`,
 * seen by experiment, pinned by `test/fixtures/make_casts.py`): rounding is to nearest, ties to even; F8_E4M3 saturates at
 * ±448, the other kinds without infinity go to NaN; F8_E8M0 has no sign.
 */
import type { Dtype } from '../../model/dtype.ts';

export type SmallFloat = 'F16' | 'BF16' | 'F8_E4M3' | 'F8_E5M2' | 'F8_E4M3FNUZ' | 'F8_E5M2FNUZ' | 'F8_E8M0';

interface Layout {
  readonly mantissa: number;
  readonly exponentBias: number;
  /** Where the sign bit is. */
  readonly sign: number;
  /** Bits of the largest finite value. */
  readonly largest: number;
  /** What a value beyond the largest becomes, without its sign. */
  readonly beyond: number;
  /** One zero, one NaN (the negative zero's bits): no infinity. */
  readonly fnuz: boolean;
}

const LAYOUTS: Readonly<Record<Exclude<SmallFloat, 'BF16' | 'F8_E8M0'>, Layout>> = {
  F16: { mantissa: 10, exponentBias: 15, sign: 0x8000, largest: 0x7bff, beyond: 0x7c00, fnuz: false },
  F8_E4M3: { mantissa: 3, exponentBias: 7, sign: 0x80, largest: 0x7e, beyond: 0x7e, fnuz: false },
  F8_E5M2: { mantissa: 2, exponentBias: 15, sign: 0x80, largest: 0x7b, beyond: 0x7c, fnuz: false },
  F8_E4M3FNUZ: { mantissa: 3, exponentBias: 8, sign: 0x80, largest: 0x7f, beyond: 0x80, fnuz: true },
  F8_E5M2FNUZ: { mantissa: 2, exponentBias: 16, sign: 0x80, largest: 0x7f, beyond: 0x80, fnuz: true },
};

export const F32_INFINITY = 0x7f800000;
const BF16_NAN_OF_SMALL = 0x7fc0;
/** What torch's vectorised loop writes for every NaN of a wider source. */
const BF16_NAN_OF_WIDE = 0xffff;

export function isSmallFloat(dtype: Dtype): dtype is SmallFloat {
  return Object.hasOwn(LAYOUTS, dtype) || dtype === 'BF16' || dtype === 'F8_E8M0';
}

/** Bits of the F32 with that value: every small float has one. */
export function toF32Bits(kind: SmallFloat, bits: number): number {
  if (kind === 'BF16') return (bits << 16) >>> 0;
  if (kind === 'F8_E8M0') return bits === 0 ? 0x400000 : bits === 0xff ? F32_INFINITY + 1 : bits << 23;
  const { mantissa, exponentBias, sign: signBit, fnuz } = LAYOUTS[kind];
  const sign = (bits & signBit) === 0 ? 0 : 0x80000000;
  const rest = bits & (signBit - 1);
  if (fnuz && bits === signBit) return F32_INFINITY + 1;
  const exponent = rest >>> mantissa;
  const fraction = rest & ((1 << mantissa) - 1);
  if (kind === 'F8_E4M3' && rest === 0x7f) return sign + 0x7ff00000;
  const top = (signBit >>> mantissa) - 1;
  if ((kind === 'F16' || kind === 'F8_E5M2') && exponent === top)
    return sign + F32_INFINITY + (fraction === 0 ? 0 : (fraction << (23 - mantissa)) | 0x400000);
  if (exponent > 0) return sign + ((exponent - exponentBias + 127) << 23) + (fraction << (23 - mantissa));
  if (fraction === 0) return sign;
  // Subnormal here, normal in F32: shift the leading bit out.
  const shift = Math.clz32(fraction) - (31 - mantissa);
  return sign + ((1 - exponentBias - shift + 127) << 23) + (((fraction << shift) & ((1 << mantissa) - 1)) << (23 - mantissa));
}

/** Bits of the small float nearest to the F32 with those bits. `wide`: the value came from F32 or F64, which matters for NaN only. */
export function fromF32Bits(kind: SmallFloat, bits: number, wide: boolean): number {
  const absolute = bits & 0x7fffffff;
  if (kind === 'BF16') {
    if (absolute > F32_INFINITY) return wide ? BF16_NAN_OF_WIDE : BF16_NAN_OF_SMALL;
    return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
  }
  if (kind === 'F8_E8M0') return nearestPowerOfTwo(absolute);
  const { mantissa, exponentBias, sign: signBit, largest, beyond, fnuz } = LAYOUTS[kind];
  const sign = bits >>> 31 === 0 ? 0 : signBit;
  if (absolute > F32_INFINITY) {
    if (fnuz) return signBit;
    if (kind === 'F16') return sign | 0x7e00 | ((absolute & 0x7fffff) >>> 13);
    return sign | 0x7f;
  }
  const rounded = absolute === F32_INFINITY ? largest + 1 : roundMagnitude(absolute, mantissa, exponentBias);
  if (rounded > largest) return fnuz ? beyond : sign | beyond;
  return fnuz && rounded === 0 ? 0 : sign | rounded;
}

/** True where a value that is not NaN lies beyond the kind's range, so that the result is not its rounding. */
export function isBeyond(kind: SmallFloat, bits: number): boolean {
  const absolute = bits & 0x7fffffff;
  if (absolute > F32_INFINITY) return false;
  const infinite = absolute === F32_INFINITY;
  if (kind === 'BF16') return !infinite && absolute + 0x7fff + ((absolute >>> 16) & 1) >= F32_INFINITY;
  if (kind === 'F8_E8M0') return nearestPowerOfTwo(absolute) === 0xff;
  const { mantissa, exponentBias, largest } = LAYOUTS[kind];
  if (infinite) return kind !== 'F16' && kind !== 'F8_E5M2';
  return roundMagnitude(absolute, mantissa, exponentBias) > largest;
}

/** Exponent and mantissa of the nearest value, ties to even; may lie beyond the kind's largest. */
function roundMagnitude(absolute: number, mantissa: number, exponentBias: number): number {
  // An F32 subnormal is below half of every kind's smallest value.
  if (absolute < 0x800000) return 0;
  const exponent = (absolute >>> 23) - 127;
  const lowest = 1 - exponentBias;
  const shift = 23 - mantissa + Math.max(0, lowest - exponent);
  if (shift > 24) return 0;
  const full = (absolute & 0x7fffff) | 0x800000;
  const kept = full >>> shift;
  const rest = full & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  const rounded = kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0);
  return exponent < lowest ? rounded : ((exponent + exponentBias - 1) << mantissa) + rounded;
}

function nearestPowerOfTwo(absolute: number): number {
  const exponent = absolute >>> 23;
  if (exponent === 0xff) return 0xff;
  const half = (absolute & 0x400000) !== 0;
  const more = (absolute & 0x3fffff) !== 0;
  return exponent + (half && (more || exponent > 0) ? 1 : 0);
}
