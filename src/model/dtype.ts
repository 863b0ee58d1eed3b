/**
 * Element types, named as safetensors names them.
 *
 * `bits` is the size of one element; `safetensors` says whether the container has the type at all. Sizes are from
 * safetensors 0.8 (`Dtype::bitsize`) and torch 2.15 (`torch/_C` element sizes); the exotic ones exist in torch only.
 */
export const DTYPES = {
  BOOL: { bits: 8, safetensors: true, torch: 'bool' },
  F4: { bits: 4, safetensors: true, torch: null },
  F6_E2M3: { bits: 6, safetensors: true, torch: null },
  F6_E3M2: { bits: 6, safetensors: true, torch: null },
  U8: { bits: 8, safetensors: true, torch: 'uint8' },
  I8: { bits: 8, safetensors: true, torch: 'int8' },
  F8_E5M2: { bits: 8, safetensors: true, torch: 'float8_e5m2' },
  F8_E4M3: { bits: 8, safetensors: true, torch: 'float8_e4m3fn' },
  F8_E8M0: { bits: 8, safetensors: true, torch: 'float8_e8m0fnu' },
  F8_E4M3FNUZ: { bits: 8, safetensors: true, torch: 'float8_e4m3fnuz' },
  F8_E5M2FNUZ: { bits: 8, safetensors: true, torch: 'float8_e5m2fnuz' },
  I16: { bits: 16, safetensors: true, torch: 'int16' },
  U16: { bits: 16, safetensors: true, torch: 'uint16' },
  F16: { bits: 16, safetensors: true, torch: 'float16' },
  BF16: { bits: 16, safetensors: true, torch: 'bfloat16' },
  I32: { bits: 32, safetensors: true, torch: 'int32' },
  U32: { bits: 32, safetensors: true, torch: 'uint32' },
  F32: { bits: 32, safetensors: true, torch: 'float32' },
  C64: { bits: 64, safetensors: true, torch: 'complex64' },
  F64: { bits: 64, safetensors: true, torch: 'float64' },
  I64: { bits: 64, safetensors: true, torch: 'int64' },
  U64: { bits: 64, safetensors: true, torch: 'uint64' },
  C128: { bits: 128, safetensors: false, torch: 'complex128' },
  C32: { bits: 32, safetensors: false, torch: 'complex32' },
  BC32: { bits: 32, safetensors: false, torch: 'bcomplex32' },
  BITS8: { bits: 8, safetensors: false, torch: 'bits8' },
  BITS16: { bits: 16, safetensors: false, torch: 'bits16' },
  BITS1X8: { bits: 8, safetensors: false, torch: 'bits1x8' },
  BITS2X4: { bits: 8, safetensors: false, torch: 'bits2x4' },
  BITS4X2: { bits: 8, safetensors: false, torch: 'bits4x2' },
  F4_X2: { bits: 8, safetensors: false, torch: 'float4_e2m1fn_x2' },
} as const;

export type Dtype = keyof typeof DTYPES;

export function isDtype(name: unknown): name is Dtype {
  return typeof name === 'string' && Object.hasOwn(DTYPES, name);
}

/** Bytes of one element of a dtype of whole bytes. */
export function bytesPerElement(dtype: Dtype): number {
  return DTYPES[dtype].bits / 8;
}

/** Product of the sizes; 1 for a scalar. NaN-free but not overflow-safe: parsers bound shapes before they call it. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Bytes of a contiguous tensor. */
export function tensorBytes(dtype: Dtype, shape: readonly number[]): number {
  return (elementCount(shape) * DTYPES[dtype].bits) / 8;
}

export type DtypeKind = 'float' | 'integer' | 'bool' | 'complex' | 'bits';

/** Dtypes of one kind convert into each other without changing what a value means. */
export function dtypeKind(dtype: Dtype): DtypeKind {
  if (dtype === 'BOOL') return 'bool';
  if (/^[IU]\d/.test(dtype)) return 'integer';
  if (/^B?C\d/.test(dtype)) return 'complex';
  return dtype.startsWith('BITS') || dtype === 'F4_X2' ? 'bits' : 'float';
}

/** True where values of `from` can be converted to `to`: one kind, whole bytes (F4 and F6 pack several elements into some). */
export function isCastable(from: Dtype, to: Dtype): boolean {
  if (from === to) return true;
  const kind = dtypeKind(from);
  const whole = (dtype: Dtype): boolean => DTYPES[dtype].bits % 8 === 0 && dtype !== 'BC32';
  return kind === dtypeKind(to) && kind !== 'bits' && whole(from) && whole(to);
}

const BY_TORCH_NAME: ReadonlyMap<string, Dtype> = new Map(
  (Object.keys(DTYPES) as Dtype[]).flatMap((dtype) => {
    const { torch } = DTYPES[dtype];
    return torch === null ? [] : [[torch, dtype] as const];
  }),
);

/** A dtype as people write it: `F32`, `bf16`, `float32`, `torch.float32`; undefined where it is none. */
export function dtypeNamed(name: string): Dtype | undefined {
  const upper = name.toUpperCase();
  if (isDtype(upper)) return upper;
  const plain = name.toLowerCase().replace(/^torch\./, '');
  const alias = { half: 'F16', float: 'F32', double: 'F64', long: 'I64', int: 'I32', short: 'I16' } as const;
  return BY_TORCH_NAME.get(plain) ?? (Object.hasOwn(alias, plain) ? alias[plain as keyof typeof alias] : undefined);
}
