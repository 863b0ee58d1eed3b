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
  /** A member of an enum, as torch writes those of scripted modules. */
  | { readonly member: string; readonly value: Pickled }
  /** An instance with a state, as data classes are written. */
  | { readonly object: string; readonly state: Pickled };

export function pickle(value: Pickled): Buffer {
  const out = new Output();
  out.bytes(0x80, 2);
  write(value, new Map(), out);
  out.text('.');
  return out.whole();
}

/** Grows by doubling: pickles of very many tensors are made of millions of pieces. */
class Output {
  #buffer = Buffer.alloc(1024);
  #length = 0;

  bytes(...bytes: readonly number[]): void {
    const at = this.#room(bytes.length);
    this.#buffer.set(bytes, at);
  }

  /** As UTF-8; its length in bytes. */
  text(text: string): number {
    const length = Buffer.byteLength(text);
    const at = this.#room(length);
    this.#buffer.write(text, at);
    return length;
  }

  /** The opcode of a string that says its length before it. */
  string(text: string): void {
    this.text('X');
    const at = this.#room(4);
    const length = this.text(text);
    this.#buffer.writeUInt32LE(length, at);
  }

  whole(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #room(length: number): number {
    const at = this.#length;
    this.#length += length;
    if (this.#length > this.#buffer.length) this.#buffer = Buffer.concat([this.#buffer], 2 * this.#length);
    return at;
  }
}

function write(value: Pickled, memo: Map<string, number>, out: Output): void {
  if (value === null) out.text('N');
  else if (typeof value === 'boolean') out.bytes(value ? 0x88 : 0x89);
  else if (typeof value === 'number' || typeof value === 'bigint') out.text(`L${value}L\n`);
  else if (typeof value === 'string') out.string(value);
  else if (isList(value)) {
    out.text('](');
    for (const item of value) write(item, memo, out);
    out.text('e');
  } else if ('tuple' in value) {
    out.text('(');
    for (const item of value.tuple) write(item, memo, out);
    out.text('t');
  } else if ('dict' in value) {
    out.text('}(');
    for (const [key, item] of value.dict) {
      write(key, memo, out);
      write(item, memo, out);
    }
    out.text('u');
  } else if ('global' in value) {
    const known = memo.get(value.global);
    if (known !== undefined) return out.bytes(0x68, known);
    memo.set(value.global, memo.size);
    const at = value.global.lastIndexOf('.');
    out.text(`c${value.global.slice(0, at)}\n${value.global.slice(at + 1)}\n`);
    out.bytes(0x71, memo.size - 1);
  } else if ('persistent' in value) {
    write(value.persistent, memo, out);
    out.text('Q');
  } else if ('object' in value) {
    write({ global: value.object }, memo, out);
    out.bytes(...Buffer.from(')\x81', 'latin1'));
    write(value.state, memo, out);
    out.text('b');
  } else if ('member' in value) {
    write({ global: value.member }, memo, out);
    write(value.value, memo, out);
    out.text('R');
  } else {
    write({ global: value.call }, memo, out);
    write({ tuple: value.args }, memo, out);
    out.text('R');
  }
}

function isList(value: object): value is readonly Pickled[] {
  return Array.isArray(value);
}
