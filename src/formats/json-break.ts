/**
 * Where a text ceases to be JSON. What the engine says of that quotes the text, and errors stay in histories.
 *
 * Invariant: one pass without recursion; of a text that `JSON.parse` takes there is no break, and of every other there is one.
 */

const BACKSLASH = 0x5c;
const WHITE = /[ \t\n\r]*/y;
/** A value that is not text, list or object. */
const WORD = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
/** What may not stand in a text as it is, and what begins with a backslash. */
// oxlint-disable-next-line no-control-regex -- control characters are what is sought
const MARKED = /[\u0000-\u001f]|\\(?:u[0-9a-fA-F]{4}|[^])?/g;
const ESCAPE = /^\\(?:u.{4}|["\\/bfnrt])$/;

/** Parses JSON; throws `SyntaxError` that says where it breaks, and nothing of what stands there. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SyntaxError(breakText(text, `at character ${jsonBreak(text)}`));
  }
}

/** What is wrong with a text that is not JSON, at a place of whatever words. */
export function breakText(text: string, place: string): string {
  return jsonBreak(text) === text.length ? 'its JSON ends too early' : `what stands ${place} is not JSON`;
}

/** Offset of the first character that no JSON has there, the text's length where it ends too early; undefined of JSON. */
export function jsonBreak(text: string): number | undefined {
  /** What closes the lists and objects that are open. */
  const open: string[] = [];
  /** What is expected; `first` is a value, a key, or the end of what has just been opened. */
  let next: 'value' | 'first' | 'key' | 'colon' | 'more' = 'value';
  let at = after(WHITE, text, 0);
  while (at < text.length) {
    const character = text[at]!;
    const closing = open.at(-1);
    const isKey: boolean = next === 'key' || (next === 'first' && closing === '}');
    if ((next === 'more' || next === 'first') && character === closing) {
      open.pop();
      next = 'more';
      at++;
    } else if (next === 'more') {
      if (closing === undefined || character !== ',') return at;
      next = closing === '}' ? 'key' : 'value';
      at++;
    } else if (next === 'colon') {
      if (character !== ':') return at;
      next = 'value';
      at++;
    } else if (character === '"') {
      const end = endOfText(text, at);
      const wrong = wrongWithin(text, at, end);
      if (wrong !== undefined) return wrong;
      next = isKey ? 'colon' : 'more';
      at = end + 1;
    } else if (isKey) return at;
    else if (character === '{' || character === '[') {
      open.push(character === '{' ? '}' : ']');
      next = 'first';
      at++;
    } else {
      const end = after(WORD, text, at);
      if (end === at) return at;
      next = 'more';
      at = end;
    }
    at = after(WHITE, text, at);
  }
  return next === 'more' && open.length === 0 ? undefined : text.length;
}

/** Of a text between its quotes; one that does not end goes on to the end of all. */
function wrongWithin(text: string, start: number, end: number): number | undefined {
  for (const { 0: found, index } of text.slice(start + 1, end).matchAll(MARKED)) if (!ESCAPE.test(found)) return start + 1 + index;
  return end < text.length ? undefined : end;
}

function after(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return at + (pattern.exec(text)?.[0].length ?? 0);
}

/** Of the closing quote, or of the whole where there is none: found by the engine's own search, as most of a JSON text is in such. */
export function endOfText(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let before = end;
    while (text.charCodeAt(before - 1) === BACKSLASH) before--;
    // Each two of them are one backslash; one more escapes the quote.
    if ((end - before) % 2 === 0) return end;
  }
  return text.length;
}
