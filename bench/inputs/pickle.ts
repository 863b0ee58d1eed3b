/**
 * Pickle protocol 2 as CPython's pickler writes it for torch: memoized strings, tuples and containers, batches of 1000.
 *
 * For the bench's own inputs only: it must not share code with what it measures, and the cost of reading depends on the
 * memo entries being there. Values: null, boolean, number (integral ones as ints; `float()` else), string, arrays (lists),
 * plain objects and `Map` (dicts), `tuple()`, `ordered()`, and tensors.
 */

/** A contiguous CPU tensor of one storage of its own. */
export interface TensorValue {
  readonly kind: 'tensor';
  readonly key: string;
  readonly storage: 'FloatStorage' | 'HalfStorage' | 'BFloat16Storage';
  readonly shape: readonly number[];
}

export type PickleValue =
  | null
  | boolean
  | number
  | string
  | readonly PickleValue[]
  | ReadonlyMap<string | number, PickleValue>
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'tuple'; readonly items: readonly PickleValue[] }
  | { readonly kind: 'ordered'; readonly entries: ReadonlyMap<string, PickleValue> }
  | TensorValue;

export const float = (value: number): PickleValue => ({ kind: 'float', value });
export const tuple = (...items: readonly PickleValue[]): PickleValue => ({ kind: 'tuple', items });
export const dict = (entries: Readonly<Record<string, PickleValue>>): PickleValue => new Map(Object.entries(entries));
export const ordered = (entries: ReadonlyMap<string, PickleValue>): PickleValue => ({ kind: 'ordered', entries });

/** Items of one SETITEMS or APPENDS. */
const BATCH = 1000;

const OP = {
  proto: 0x80,
  stop: 0x2e,
  mark: 0x28,
  none: 0x4e,
  newtrue: 0x88,
  newfalse: 0x89,
  binint: 0x4a,
  binint1: 0x4b,
  binint2: 0x4d,
  long1: 0x8a,
  binfloat: 0x47,
  binunicode: 0x58,
  emptyList: 0x5d,
  append: 0x61,
  appends: 0x65,
  emptyDict: 0x7d,
  setitem: 0x73,
  setitems: 0x75,
  emptyTuple: 0x29,
  tuple: 0x74,
  tuple1: 0x85,
  global: 0x63,
  reduce: 0x52,
  binpersid: 0x51,
  binput: 0x71,
  longBinput: 0x72,
  binget: 0x68,
  longBinget: 0x6a,
} as const;

export function writePickle(value: PickleValue): Uint8Array {
  const writer = new PickleWriter();
  return writer.finish(value);
}

class PickleWriter {
  #bytes = Buffer.allocUnsafe(1 << 20);
  #end = 0;
  /** Strings and globals already written, by their memo index. */
  readonly #known = new Map<string, number>();
  #memo = 0;

  finish(value: PickleValue): Uint8Array {
    this.#byte(OP.proto, 2);
    this.#value(value);
    this.#byte(OP.stop);
    return this.#bytes.subarray(0, this.#end);
  }

  #value(value: PickleValue): void {
    if (value === null) this.#byte(OP.none);
    else if (typeof value === 'boolean') this.#byte(value ? OP.newtrue : OP.newfalse);
    else if (typeof value === 'number') this.#integer(value);
    else if (typeof value === 'string') this.#text(value);
    else if (value instanceof Map) this.#dict(value as ReadonlyMap<string | number, PickleValue>);
    else if (Array.isArray(value)) this.#list(value as readonly PickleValue[]);
    else {
      const tagged = value as Extract<PickleValue, { readonly kind: string }>;
      switch (tagged.kind) {
        case 'float':
          this.#room(9);
          this.#bytes[this.#end++] = OP.binfloat;
          this.#end = this.#bytes.writeDoubleBE(tagged.value, this.#end);
          break;
        case 'tuple':
          this.#tuple(tagged.items);
          break;
        case 'ordered':
          this.#global('collections', 'OrderedDict');
          this.#byte(OP.emptyTuple, OP.reduce);
          this.#put();
          this.#items([...tagged.entries]);
          break;
        case 'tensor':
          this.#tensor(tagged);
      }
    }
  }

  #integer(value: number): void {
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not an integer; wrap it in float()`);
    this.#room(10);
    if (value >= 0 && value < 0x100) this.#byte(OP.binint1, value);
    else if (value >= 0 && value < 0x10000) this.#byte(OP.binint2, value & 0xff, value >> 8);
    else if (value >= -0x80000000 && value <= 0x7fffffff) {
      this.#bytes[this.#end++] = OP.binint;
      this.#end = this.#bytes.writeInt32LE(value, this.#end);
    } else {
      this.#byte(OP.long1, 8);
      this.#room(8);
      this.#end = this.#bytes.writeBigInt64LE(BigInt(value), this.#end);
    }
  }

  #text(text: string): void {
    if (this.#recall(text)) return;
    const utf8 = Buffer.from(text);
    this.#room(5 + utf8.length);
    this.#bytes[this.#end++] = OP.binunicode;
    this.#end = this.#bytes.writeUInt32LE(utf8.length, this.#end);
    this.#end += utf8.copy(this.#bytes, this.#end);
    this.#known.set(text, this.#memo);
    this.#put();
  }

  #global(module: string, name: string): void {
    const line = `${module}\n${name}\n`;
    if (this.#recall(line)) return;
    this.#byte(OP.global);
    this.#room(line.length);
    this.#end += this.#bytes.write(line, this.#end, 'latin1');
    this.#known.set(line, this.#memo);
    this.#put();
  }

  #list(items: readonly PickleValue[]): void {
    this.#byte(OP.emptyList);
    this.#put();
    for (let from = 0; from < items.length; from += BATCH) {
      const batch = items.slice(from, from + BATCH);
      if (batch.length > 1) this.#byte(OP.mark);
      for (const item of batch) this.#value(item);
      this.#byte(batch.length > 1 ? OP.appends : OP.append);
    }
  }

  #dict(entries: ReadonlyMap<string | number, PickleValue>): void {
    this.#byte(OP.emptyDict);
    this.#put();
    this.#items([...entries]);
  }

  #items(entries: readonly (readonly [string | number, PickleValue])[]): void {
    for (let from = 0; from < entries.length; from += BATCH) {
      const batch = entries.slice(from, from + BATCH);
      if (batch.length > 1) this.#byte(OP.mark);
      for (const [key, item] of batch) {
        this.#value(key);
        this.#value(item);
      }
      this.#byte(batch.length > 1 ? OP.setitems : OP.setitem);
    }
  }

  #tuple(items: readonly PickleValue[]): void {
    if (items.length === 0) return this.#byte(OP.emptyTuple);
    if (items.length > 3) this.#byte(OP.mark);
    for (const item of items) this.#value(item);
    this.#byte(items.length > 3 ? OP.tuple : OP.tuple1 + items.length - 1);
    this.#put();
  }

  /** `_rebuild_tensor_v2(storage, 0, shape, stride, False, OrderedDict())`. */
  #tensor({ key, storage, shape }: TensorValue): void {
    this.#global('torch._utils', '_rebuild_tensor_v2');
    this.#byte(OP.mark, OP.mark);
    this.#text('storage');
    this.#global('torch', storage);
    this.#text(key);
    this.#text('cpu');
    this.#integer(elements(shape));
    this.#byte(OP.tuple);
    this.#put();
    this.#byte(OP.binpersid);
    this.#integer(0);
    this.#tuple(shape);
    this.#tuple(strides(shape));
    this.#byte(OP.newfalse);
    this.#global('collections', 'OrderedDict');
    this.#byte(OP.emptyTuple, OP.reduce);
    this.#put();
    this.#byte(OP.tuple);
    this.#put();
    this.#byte(OP.reduce);
    this.#put();
  }

  #recall(key: string): boolean {
    const index = this.#known.get(key);
    if (index !== undefined) this.#indexed(OP.binget, OP.longBinget, index);
    return index !== undefined;
  }

  #put(): void {
    this.#indexed(OP.binput, OP.longBinput, this.#memo++);
  }

  #indexed(short: number, long: number, index: number): void {
    if (index < 0x100) return this.#byte(short, index);
    this.#room(5);
    this.#bytes[this.#end++] = long;
    this.#end = this.#bytes.writeUInt32LE(index, this.#end);
  }

  #byte(...bytes: readonly number[]): void {
    this.#room(bytes.length);
    for (const byte of bytes) this.#bytes[this.#end++] = byte;
  }

  #room(length: number): void {
    if (this.#end + length <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#end + length));
    this.#bytes.copy(grown, 0, 0, this.#end);
    this.#bytes = grown;
  }
}

export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function strides(shape: readonly number[]): readonly number[] {
  const result: number[] = [];
  let step = 1;
  for (const size of shape.toReversed()) {
    result.unshift(step);
    step *= size;
  }
  return result;
}
