/** A pickle of protocol 2 as it is written: its opcodes by what they do, and the memo. */
import { byteBuffer } from './byte-buffer.ts';
import { encodeLong } from './integers.ts';

/** By their names in CPython's `pickle.py`. */
const OP = {
  PROTO: 0x80,
  STOP: 0x2e,
  MARK: 0x28,
  NONE: 0x4e,
  NEWTRUE: 0x88,
  NEWFALSE: 0x89,
  BININT: 0x4a,
  BININT1: 0x4b,
  BININT2: 0x4d,
  LONG1: 0x8a,
  BINFLOAT: 0x47,
  BINUNICODE: 0x58,
  GLOBAL: 0x63,
  EMPTY_LIST: 0x5d,
  EMPTY_DICT: 0x7d,
  EMPTY_TUPLE: 0x29,
  TUPLE: 0x74,
  /** Of one, two and three. */
  TUPLE1: 0x85,
  APPENDS: 0x65,
  SETITEMS: 0x75,
  REDUCE: 0x52,
  BUILD: 0x62,
  BINPERSID: 0x51,
  BINPUT: 0x71,
  LONG_BINPUT: 0x72,
  BINGET: 0x68,
  LONG_BINGET: 0x6a,
} as const;
/** Tuples up to this length need no mark. */
const SHORT_TUPLE = 3;

export interface PickleOutput {
  none(): void;
  boolean(value: boolean): void;
  /** At most 2^53 - 1, either side of 0. */
  integer(value: number): void;
  /** In two's complement, at most 255 bytes. */
  long(bytes: Uint8Array): void;
  float(value: number): void;
  /** `shared`: worth a memo entry, as it comes again. */
  text(value: string, shared: boolean): void;
  /** A class or function, by the memo from the second time on. */
  global(module: string, name: string): void;
  emptyList(): void;
  emptyDict(): void;
  /** Before a tuple's items; `tuple` goes behind them. */
  beginTuple(length: number): void;
  tuple(length: number): void;
  integers(values: readonly number[]): void;
  /** Before items, or keys with their values; `append` or `setItems` goes behind them. */
  mark(): void;
  append(): void;
  setItems(): void;
  /** Calls what lies below a tuple with that. */
  call(): void;
  /** Calls with nothing. */
  callEmpty(module: string, name: string): void;
  /** Gives an object its state. */
  build(): void;
  /** Of a tuple, as a persistent id. */
  persistent(): void;
  /** Bytes by way of Latin 1, as protocol 2 has none. */
  bytes(value: Uint8Array): void;
  /** Keeps the value that was written last, whatever it is called. */
  remember(value: unknown): void;
  /** Whether it was kept; then it is written. */
  recall(value: unknown): boolean;
  done(): Uint8Array;
}

export function pickleOutput(): PickleOutput {
  const out = byteBuffer();
  out.byte(OP.PROTO).byte(2);
  const globals = new Map<string, number>();
  const texts = new Map<string, number>();
  const values = new Map<unknown, number>();
  let remembered = 0;

  function put<Key>(entries: Map<Key, number>, key: Key): void {
    const index = remembered++;
    entries.set(key, index);
    if (index < 256) out.byte(OP.BINPUT).byte(index);
    else out.byte(OP.LONG_BINPUT).u32(index);
  }
  function get<Key>(entries: ReadonlyMap<Key, number>, key: Key): boolean {
    const index = entries.get(key);
    if (index === undefined) return false;
    if (index < 256) out.byte(OP.BINGET).byte(index);
    else out.byte(OP.LONG_BINGET).u32(index);
    return true;
  }

  const output: PickleOutput = {
    none: () => void out.byte(OP.NONE),
    boolean: (value) => void out.byte(value ? OP.NEWTRUE : OP.NEWFALSE),
    integer(value) {
      if (value >= 0 && value < 256) out.byte(OP.BININT1).byte(value);
      else if (value >= 0 && value < 65536)
        out
          .byte(OP.BININT2)
          .byte(value & 255)
          .byte(value >> 8);
      else if (value >= -(2 ** 31) && value < 2 ** 31) out.byte(OP.BININT).u32(value >>> 0);
      else output.long(encodeLong(BigInt(value)));
    },
    long: (bytes) => void out.byte(OP.LONG1).byte(bytes.length).bytes(bytes),
    float: (value) => void out.byte(OP.BINFLOAT).f64(value),
    text(value, shared) {
      if (get(texts, value)) return;
      out.byte(OP.BINUNICODE).text(value);
      if (shared) put(texts, value);
    },
    global(module, name) {
      const line = `${module}\n${name}\n`;
      if (get(globals, line)) return;
      out.byte(OP.GLOBAL).ascii(line);
      put(globals, line);
    },
    emptyList: () => void out.byte(OP.EMPTY_LIST),
    emptyDict: () => void out.byte(OP.EMPTY_DICT),
    beginTuple(length) {
      if (length > SHORT_TUPLE) output.mark();
    },
    tuple(length) {
      if (length === 0) out.byte(OP.EMPTY_TUPLE);
      else if (length > SHORT_TUPLE) out.byte(OP.TUPLE);
      else out.byte(OP.TUPLE1 + length - 1);
    },
    integers(items) {
      output.beginTuple(items.length);
      items.forEach(output.integer);
      output.tuple(items.length);
    },
    mark: () => void out.byte(OP.MARK),
    append: () => void out.byte(OP.APPENDS),
    setItems: () => void out.byte(OP.SETITEMS),
    call: () => void out.byte(OP.REDUCE),
    callEmpty(module, name) {
      output.global(module, name);
      output.tuple(0);
      output.call();
    },
    build: () => void out.byte(OP.BUILD),
    persistent: () => void out.byte(OP.BINPERSID),
    bytes(value) {
      output.global('_codecs', 'encode');
      output.text(Buffer.from(value).toString('latin1'), false);
      output.text('latin1', true);
      output.tuple(2);
      output.call();
    },
    remember: (value) => put(values, value),
    recall: (value) => get(values, value),
    done() {
      out.byte(OP.STOP);
      return out.done();
    },
  };
  return output;
}
