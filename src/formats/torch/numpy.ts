/** NumPy's scalars and arrays, as their pickles describe them → numbers and text. */
import type { Json } from '../../errors.ts';
import type { NodeId, ValueNode } from '../../model/value.ts';

export interface NumpyArray {
  /** As NumPy spells it, without the byte order: `f8`, `U3`. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Elements in C order; `null`: of a kind without a plain form, or more than were asked for. */
  readonly values: readonly Json[] | null;
}

type Known = Exclude<ValueNode, null | boolean | number | string>;

/** Bytes of one element at `at` as a value. */
type Decode = (view: DataView, at: number, little: boolean) => Json;

const float = (value: number): Json =>
  Number.isFinite(value) ? value : { $float: Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf' };
const wide = (value: bigint): Json =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : { $int: String(value) };

const DECODERS: Readonly<Record<string, { readonly size: number; readonly decode: Decode }>> = {
  b1: { size: 1, decode: (view, at) => view.getUint8(at) !== 0 },
  i1: { size: 1, decode: (view, at) => view.getInt8(at) },
  u1: { size: 1, decode: (view, at) => view.getUint8(at) },
  i2: { size: 2, decode: (view, at, little) => view.getInt16(at, little) },
  u2: { size: 2, decode: (view, at, little) => view.getUint16(at, little) },
  i4: { size: 4, decode: (view, at, little) => view.getInt32(at, little) },
  u4: { size: 4, decode: (view, at, little) => view.getUint32(at, little) },
  i8: { size: 8, decode: (view, at, little) => wide(view.getBigInt64(at, little)) },
  u8: { size: 8, decode: (view, at, little) => wide(view.getBigUint64(at, little)) },
  f4: { size: 4, decode: (view, at, little) => float(view.getFloat32(at, little)) },
  f8: { size: 8, decode: (view, at, little) => float(view.getFloat64(at, little)) },
  c8: {
    size: 8,
    decode: (view, at, little) => ({ $complex: [float(view.getFloat32(at, little)), float(view.getFloat32(at + 4, little))] }),
  },
  c16: {
    size: 16,
    decode: (view, at, little) => ({ $complex: [float(view.getFloat64(at, little)), float(view.getFloat64(at + 8, little))] }),
  },
};
/** Characters of one element of text. */
const TEXT_MAX = 10_000;

/** The value of a NumPy scalar or array, or `undefined` for any other node. At most `most` elements are decoded. */
export function numpyValue(nodes: readonly ValueNode[], node: Known, most: number): NumpyArray | undefined {
  if (node.kind !== 'object') return undefined;
  const at = (id: NodeId | undefined): ValueNode | undefined => (id === undefined ? undefined : nodes[id]);
  const tuple = (id: NodeId | undefined): readonly NodeId[] => {
    const held = at(id);
    return typeof held === 'object' && held?.kind === 'tuple' ? held.items : [];
  };
  const bytesAt = (id: NodeId | undefined): Buffer | undefined => {
    const held = at(id);
    return typeof held === 'object' && (held?.kind === 'bytes' || held?.kind === 'bytearray')
      ? Buffer.from(held.base64, 'base64')
      : undefined;
  };
  const dtypeAt = (id: NodeId | undefined): { readonly dtype: string; readonly little: boolean } | undefined => {
    const held = at(id);
    if (typeof held !== 'object' || held?.kind !== 'object' || held.module !== 'numpy' || held.name !== 'dtype') return undefined;
    const [dtype] = tuple(held.args);
    const name = at(dtype);
    return typeof name === 'string' ? { dtype: name, little: at(tuple(held.state)[1]) !== '>' } : undefined;
  };
  if (!/^numpy\.(_?core)\./.test(node.module)) return undefined;
  if (node.name === 'scalar') {
    const [dtypeId, bytesId] = tuple(node.args);
    const type = dtypeAt(dtypeId);
    const bytes = bytesAt(bytesId);
    if (type === undefined) return undefined;
    return { dtype: type.dtype, shape: [], values: bytes === undefined ? null : decodeAll(type, [], bytes, false, most) };
  }
  const array = (
    bytesId: NodeId | undefined,
    dtypeId: NodeId | undefined,
    shapeId: NodeId | undefined,
    fortran: boolean,
  ): NumpyArray | undefined => {
    const type = dtypeAt(dtypeId);
    const shape = tuple(shapeId).map(at);
    if (type === undefined || !shape.every((size) => typeof size === 'number')) return undefined;
    const bytes = bytesAt(bytesId);
    return { dtype: type.dtype, shape, values: bytes === undefined ? null : decodeAll(type, shape, bytes, fortran, most) };
  };
  if (node.name === '_frombuffer') {
    const [bytesId, dtypeId, shapeId, order] = tuple(node.args);
    return array(bytesId, dtypeId, shapeId, at(order) === 'F');
  }
  if (node.name !== '_reconstruct') return undefined;
  // State of ndarray: version, shape, dtype, Fortran order, bytes.
  const [, shapeId, dtypeId, fortran, bytesId] = tuple(node.state);
  return array(bytesId, dtypeId, shapeId, at(fortran) === true);
}

function decodeAll(
  { dtype, little }: { readonly dtype: string; readonly little: boolean },
  shape: readonly number[],
  bytes: Buffer,
  fortran: boolean,
  most: number,
): readonly Json[] | null {
  const decoder = DECODERS[dtype] ?? textDecoder(dtype);
  const count = shape.reduce((product, size) => product * size, 1);
  if (decoder === undefined || !(count <= most) || bytes.length !== count * decoder.size) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: count }, (_, element) => {
    const at = fortran ? fortranIndex(element, shape) : element;
    return decoder.decode(view, at * decoder.size, little);
  });
}

/** `U3`: three characters of 4 bytes each, padded with zeros; `S3`: three bytes. */
function textDecoder(dtype: string): { readonly size: number; readonly decode: Decode } | undefined {
  const [, kind, digits] = /^([US])(\d{1,5})$/.exec(dtype) ?? [];
  const length = Number(digits);
  if (kind === undefined || length === 0 || length > TEXT_MAX) return undefined;
  const width = kind === 'U' ? 4 : 1;
  return {
    size: length * width,
    decode: (view, at, little) => {
      const points: number[] = [];
      for (let each = 0; each < length; each++) {
        const point = width === 4 ? view.getUint32(at + each * 4, little) : view.getUint8(at + each);
        points.push(point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ? 0xfffd : point);
      }
      return String.fromCodePoint(...points).replace(/\0+$/, '');
    },
  };
}

/** Where the element of that place in C order lies in Fortran order. */
function fortranIndex(element: number, shape: readonly number[]): number {
  let rest = element;
  const position = shape.map(() => 0);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    position[axis] = rest % shape[axis]!;
    rest = Math.floor(rest / shape[axis]!);
  }
  let at = 0;
  for (let axis = shape.length - 1; axis >= 0; axis--) at = at * shape[axis]! + position[axis]!;
  return at;
}
