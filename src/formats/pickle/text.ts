/**
 * Protocol 0's text strings, as CPython decodes them.
 *
 * Invariant: what CPython refuses is `undefined`; the rest comes out as the bytes of its UTF-8, surrogates included.
 */

/** UNICODE: latin-1, in which an odd number of backslashes before `uXXXX` or `UXXXXXXXX` makes an escape and nothing else does. */
export function rawUnicodeEscape(line: Uint8Array): Uint8Array | undefined {
  const text = Buffer.from(line).toString('latin1');
  const out: Buffer[] = [];
  const escape = /\\(?:\\|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([uU]))/g;
  let from = 0;
  for (let match = escape.exec(text); match !== null; match = escape.exec(text)) {
    if (match[3] !== undefined) return undefined;
    const digits = match[1] ?? match[2];
    if (digits === undefined) continue; // Two backslashes are two backslashes.
    const code = Number.parseInt(digits, 16);
    if (code > 0x10ffff) return undefined;
    out.push(Buffer.from(text.slice(from, match.index)), encode(code));
    from = escape.lastIndex;
  }
  out.push(Buffer.from(text.slice(from)));
  return Buffer.concat(out);
}

function encode(code: number): Buffer {
  if (code < 0xd800 || code > 0xdfff) return Buffer.from(String.fromCodePoint(code));
  return Buffer.from([0xed, 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)]);
}

const SIMPLE: Readonly<Record<string, number>> = { '\\': 92, "'": 39, '"': 34, a: 7, b: 8, f: 12, n: 10, r: 13, t: 9, v: 11 };

/** STRING: quoted, with the escapes of a Python bytes literal; an unknown escape stands for itself. */
export function stringEscape(line: Uint8Array): Uint8Array | undefined {
  const text = Buffer.from(line).toString('latin1');
  const inner = /^(['"])([^]*)\1$/.exec(text)?.[2];
  if (inner === undefined) return undefined;
  const out: number[] = [];
  for (let at = 0; at < inner.length; at++) {
    const character = inner[at] ?? '';
    if (character !== '\\') {
      out.push(character.charCodeAt(0));
      continue;
    }
    const next = inner[++at];
    if (next === undefined) return undefined;
    const octal = /^[0-7]{1,3}/.exec(inner.slice(at, at + 3))?.[0];
    if (octal !== undefined) {
      out.push(Number.parseInt(octal, 8) & 0xff);
      at += octal.length - 1;
    } else if (next === 'x') {
      const digits = inner.slice(at + 1, at + 3);
      if (!/^[0-9a-fA-F]{2}$/.test(digits)) return undefined;
      out.push(Number.parseInt(digits, 16));
      at += 2;
    } else if (Object.hasOwn(SIMPLE, next)) out.push(SIMPLE[next] ?? 0);
    else out.push(92, next.charCodeAt(0));
  }
  return Uint8Array.from(out);
}
