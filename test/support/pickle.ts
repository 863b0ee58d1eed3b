/** Writes pickles of protocol 2, for files that no tool at hand writes any more. */
export type Pickled =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly Pickled[]
  | { readonly tuple: readonly Pickled[] }
  | { readonly dict: readonly (readonly [Pickled, Pickled])[] }
  | { readonly global: string }
  | { readonly persistent: Pickled }
  | { readonly call: string; readonly args: readonly Pickled[] }
  /** An instance with a state, as data classes are written. */
  | { readonly object: string; readonly state: Pickled };

export function pickle(value: Pickled): Buffer {
  return Buffer.concat([Buffer.from([0x80, 2]), ...parts(value, new Map()), Buffer.from('.')]);
}

function* parts(value: Pickled, memo: Map<string, number>): Generator<Buffer> {
  if (value === null) yield Buffer.from('N');
  else if (typeof value === 'boolean') yield Buffer.from([value ? 0x88 : 0x89]);
  else if (typeof value === 'number' || typeof value === 'bigint') yield Buffer.from(`L${value}L\n`);
  else if (typeof value === 'string') {
    const text = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    yield Buffer.concat([Buffer.from('X'), length, text]);
  } else if (isList(value)) {
    yield Buffer.from('](');
    for (const item of value) yield* parts(item, memo);
    yield Buffer.from('e');
  } else if ('tuple' in value) {
    yield Buffer.from('(');
    for (const item of value.tuple) yield* parts(item, memo);
    yield Buffer.from('t');
  } else if ('dict' in value) {
    yield Buffer.from('}(');
    for (const [key, item] of value.dict) {
      yield* parts(key, memo);
      yield* parts(item, memo);
    }
    yield Buffer.from('u');
  } else if ('global' in value) {
    const known = memo.get(value.global);
    if (known !== undefined) return yield Buffer.from([0x68, known]);
    memo.set(value.global, memo.size);
    const at = value.global.lastIndexOf('.');
    yield Buffer.from(`c${value.global.slice(0, at)}\n${value.global.slice(at + 1)}\n`);
    yield Buffer.from([0x71, memo.size - 1]);
  } else if ('persistent' in value) {
    yield* parts(value.persistent, memo);
    yield Buffer.from('Q');
  } else if ('object' in value) {
    yield* parts({ global: value.object }, memo);
    yield Buffer.from(')\x81', 'latin1');
    yield* parts(value.state, memo);
    yield Buffer.from('b');
  } else {
    yield* parts({ global: value.call }, memo);
    yield* parts({ tuple: value.args }, memo);
    yield Buffer.from('R');
  }
}

function isList(value: object): value is readonly Pickled[] {
  return Array.isArray(value);
}
