/**
 * The JSON of a safetensors header, read strictly: `JSON.parse` would lose duplicate keys and the spelling of numbers.
 *
 * Reads just what the header's grammar allows (objects of objects, strings, arrays of unsigned integers), so nothing nests
 * deeper than its callers ask for and no input makes it recurse.
 */
import { isWellFormed } from '../unicode.ts';

export class JsonSyntaxError extends Error {}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
/** Up to here an engine copies a part of a text; a longer one would keep the whole text as long as it is kept itself. */
const COPIED = 12;
/** Keys of an object that are compared one by one. */
const FEW = 8;

export class JsonScanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Skips white space and takes `character`, or fails. */
  expect(character: string): void {
    this.#space();
    if (this.#text[this.#at] !== character) throw this.error(`expected \`${character}\``);
    this.#at++;
  }

  /** Takes `character` if it is next. */
  accept(character: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  string(): string {
    this.expect('"');
    const start = this.#at - 1;
    let isPlain = true;
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (Number.isNaN(code)) throw this.error('a string does not end');
      if (code === BACKSLASH) this.#at++;
      isPlain &&= code !== BACKSLASH && code >= SPACE;
      this.#at++;
      if (code === QUOTE) break;
    }
    if (isPlain && this.#at - start - 2 <= COPIED) return this.#text.slice(start + 1, this.#at - 1);
    let text: string;
    try {
      text = JSON.parse(this.#text.slice(start, this.#at)) as string;
    } catch {
      throw this.error('a string is not valid JSON');
    }
    // Written as an escape; the reference refuses it, too.
    if (!isPlain && !isWellFormed(text)) throw this.error(`the string ${JSON.stringify(text.slice(0, 200))} holds a lone surrogate`);
    return text;
  }

  /** A whole number from 0, spelled in digits, up to 2^53 − 1. */
  unsigned(): number {
    this.#space();
    const start = this.#at;
    while (this.#at < this.#text.length && this.#text.charCodeAt(this.#at) >= 0x30 && this.#text.charCodeAt(this.#at) <= 0x39) this.#at++;
    const digits = this.#text.slice(start, this.#at);
    const value = Number(digits);
    if (digits === '' || (digits.length > 1 && digits[0] === '0')) throw this.error('expected a whole number');
    if (!Number.isSafeInteger(value)) throw this.error(`${digits.slice(0, 30)} is too large`);
    return value;
  }

  /** At most so many. */
  unsignedList(most: number): readonly number[] {
    this.expect('[');
    const values: number[] = [];
    if (this.accept(']')) return values;
    do if (values.push(this.unsigned()) > most) throw this.error(`a list of more than ${most} numbers`);
    while (this.accept(','));
    this.expect(']');
    return values;
  }

  /** Members of an object in order; `each` must take the value; a key twice is an error. */
  object(each: (key: string) => void): void {
    this.expect('{');
    if (this.accept('}')) return;
    const few: string[] = [];
    let many: Set<string> | undefined;
    do {
      const key = this.string();
      if (many === undefined ? few.includes(key) : many.has(key))
        throw this.error(`the key ${JSON.stringify(key.slice(0, 200))} stands twice`);
      if (many !== undefined) many.add(key);
      else if (few.push(key) > FEW) many = new Set(few);
      this.expect(':');
      each(key);
    } while (this.accept(','));
    this.expect('}');
  }

  /** Passes over any value, for text that is known to be valid JSON. */
  skip(): void {
    let depth = 0;
    do {
      this.#space();
      if (this.#at >= this.#text.length) throw this.error('expected a value');
      if (this.#text.charCodeAt(this.#at) === QUOTE) this.string();
      else if ('{['.includes(this.#text[this.#at++] ?? '')) depth++;
      else if ('}]'.includes(this.#text[this.#at - 1] ?? '')) depth--;
      else if (depth === 0) while (/[^\s,:\]}]/.test(this.#text[this.#at] ?? ',')) this.#at++;
    } while (depth > 0);
  }

  /** Takes `null` if it is next. */
  acceptNull(): boolean {
    this.#space();
    if (!this.#text.startsWith('null', this.#at)) return false;
    this.#at += 4;
    return true;
  }

  /** Passes over any value of at most so many characters, which must be valid JSON. */
  anyValue(most: number): void {
    this.#space();
    const start = this.#at;
    this.skip();
    const length = this.#at - start;
    if (length > most) throw this.error(`a value of ${length} characters, at most ${most} are passed over`);
    try {
      JSON.parse(this.#text.slice(start, this.#at));
    } catch {
      throw this.error('a value is not valid JSON');
    }
  }

  /** Only white space may follow. */
  end(): void {
    this.#space();
    if (this.#at !== this.#text.length) throw this.error('text after the end of the object');
  }

  error(what: string): JsonSyntaxError {
    return new JsonSyntaxError(`${what} at character ${this.#at}`);
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at++;
    }
  }
}
