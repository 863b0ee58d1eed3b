/** Text of any length as a stream: what is held at a time is a block and a line. */
import { isUtf8 } from 'node:buffer';
import { CheckpointConfigError } from '../errors.ts';
import type { ByteSource } from '../model/byte-source.ts';

const BLOCK = 2 ** 20;
/** Characters of a line: rows of manifests and results are some hundred. */
const LINE_MOST = 2 ** 20;
/** The byte that ends a line, and is a part of no other character. */
const LINE_END = 10;

/** The file's bytes, block by block. Throws `CheckpointConfigError` with the place of the first that is not UTF-8. */
export async function* blocksOf(source: ByteSource): AsyncGenerator<Uint8Array> {
  let held = Buffer.alloc(0);
  let number = 1;
  for (let offset = 0; offset < source.size; offset += BLOCK) {
    const block = await source.read(offset, Math.min(BLOCK, source.size - offset));
    const bytes = Buffer.concat([held, block]);
    const isLast = offset + block.length === source.size;
    // A character may lie over the end of a block.
    const whole = isLast ? bytes : bytes.subarray(0, bytes.length - begunBytes(bytes));
    if (!isUtf8(whole)) throw notUtf8(source.uri, whole, { number, offset: offset - held.length });
    number += linesIn(whole);
    held = bytes.subarray(whole.length);
    yield whole;
  }
}

/** Bytes at the end that begin a character and do not end it. */
function begunBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    // 10xxxxxx goes on with a character; what begins one tells its length.
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

function linesIn(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(LINE_END); at >= 0; at = bytes.indexOf(LINE_END, at + 1)) count++;
  return count;
}

/** Of bytes that begin at an offset of the file, in the line of that number. */
function notUtf8(uri: string, bytes: Buffer, begin: { readonly number: number; readonly offset: number }): CheckpointConfigError {
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

/** The lines that are not blank, with their numbers from 1. */
export async function* linesOf(source: ByteSource): AsyncGenerator<{ readonly line: string; readonly number: number }> {
  const decoder = new TextDecoder();
  let rest = '';
  let number = 0;
  for await (const block of blocksOf(source)) {
    const lines = (rest + decoder.decode(block, { stream: true })).split('\n');
    rest = lines.pop()!;
    if (rest.length > LINE_MOST)
      throw new CheckpointConfigError(`${source.uri}, line ${number + lines.length + 1}: it has more than ${LINE_MOST} characters.`);
    for (const line of lines) {
      number++;
      if (line.trim() !== '') yield { line, number };
    }
  }
  if (rest.trim() !== '') yield { line: rest, number: number + 1 };
}
