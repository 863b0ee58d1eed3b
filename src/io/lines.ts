/** Text of any length as a stream: what is held at a time is a block and a line. */
import { isUtf8 } from 'node:buffer';
import { CheckpointConfigError } from '../errors.ts';
import type { ByteSource } from '../model/byte-source.ts';
import { begunBytes, linesIn, notUtf8 } from './utf8.ts';

const BLOCK = 2 ** 20;
/** Characters of a line: rows of manifests and results are some hundred. */
const LINE_MOST = 2 ** 20;

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
