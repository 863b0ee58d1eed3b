/** Text that people have written or made: UTF-8, and where it is another encoding, an error with the place in place of other characters. */
import { isUtf8 } from 'node:buffer';
import { CheckpointConfigError } from '../errors.ts';

/** The byte that ends a line, and is a part of no other character. */
const LINE_END = 10;

/** The text of a whole file. Throws `CheckpointConfigError` with the place of the first byte that is not UTF-8. */
export function utf8Text(bytes: Buffer, file: string): string {
  if (isUtf16(bytes))
    throw new CheckpointConfigError(`${file} is in UTF-16, as some programs of Windows save text. Save it as UTF-8.`, undefined, {
      details: { file },
    });
  if (!isUtf8(bytes)) throw notUtf8(file, bytes, { number: 1, offset: 0 });
  return bytes.toString('utf8');
}

/** By its mark of byte order, or by the half of its first character that is nothing, as no text in UTF-8 has it. */
function isUtf16([first, second]: Uint8Array): boolean {
  return (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff) || (first === 0) !== (second === 0);
}

/** Bytes at the end that begin a character and do not end it. */
export function begunBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    // 10xxxxxx goes on with a character; what begins one tells its length.
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

export function linesIn(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(LINE_END); at >= 0; at = bytes.indexOf(LINE_END, at + 1)) count++;
  return count;
}

/** Of bytes that begin at an offset of the file, in the line of that number. */
export function notUtf8(uri: string, bytes: Buffer, begin: { readonly number: number; readonly offset: number }): CheckpointConfigError {
  // The longest beginning that is right, but for a character that goes on behind it.
  let [right, wrong] = [0, bytes.length];
  while (wrong - right > 1) {
    const middle = (right + wrong) >>> 1;
    const beginning = bytes.subarray(0, middle);
    if (isUtf8(beginning.subarray(0, middle - begunBytes(beginning)))) right = middle;
    else wrong = middle;
  }
  const at = right - begunBytes(bytes.subarray(0, right));
  const line = begin.number + linesIn(bytes.subarray(0, at));
  const hex = bytes[at]!.toString(16).padStart(2, '0');
  return new CheckpointConfigError(
    `${uri}, line ${line}: the byte 0x${hex} at ${begin.offset + at} is not UTF-8. Save the file in that encoding.`,
  );
}
