/**
 * What a foreign JSON text would make, counted before `JSON.parse` makes it: three bytes (`[],`) become fifty of memory, and a
 * deflated text a thousand times its file.
 *
 * Invariant: one pass without recursion or memory; what is not JSON may be counted wrongly, never without end.
 */
import { endOfText, parseJson } from './json-break.ts';

export const JSON_LIMITS = {
  /**
   * Values, as its commas and brackets count them: metadata of Anemoi has some 10 000, an index of shards one for each tensor. A
   * million take 100 MB at most.
   */
  values: 1_000_000,
  /** Nesting; metadata of Anemoi reaches about 20. */
  depth: 200,
} as const;

const QUOTE = 0x22;
const COMMA = 0x2c;
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

export type JsonLimits = { readonly [name in keyof typeof JSON_LIMITS]: number };

/** Parses JSON within the limits; throws `RangeError` that says why it is not to be parsed, `SyntaxError` that says where it is not JSON. */
export function parseBounded(text: string, limits: JsonLimits = JSON_LIMITS): unknown {
  const beyond = beyondJsonLimits(text, limits);
  if (beyond !== undefined) throw new RangeError(beyond);
  return parseJson(text);
}

/** Why the text is not to be parsed: what, where, and the limit; undefined where it is within them. */
export function beyondJsonLimits(text: string, limits: JsonLimits = JSON_LIMITS): string | undefined {
  let values = 1;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfText(text, at);
    else if (code === COMMA) values++;
    else if (code === OPEN_LIST || code === OPEN_OBJECT) {
      values++;
      if (++depth > limits.depth) return `it nests ${depth} levels deep at character ${at}, at most ${limits.depth} are read`;
    } else if (code === CLOSE_LIST || code === CLOSE_OBJECT) depth--;
    if (values > limits.values) return `it has ${values} values or more by character ${at}, at most ${limits.values} are read`;
  }
  return undefined;
}
