/** Long lines on a terminal; what goes into a file or another program keeps its lines. */

import { oneLine } from './visible.ts';

/** Narrower columns than this are not wrapped: they would be towers. */
const LEAST_WIDTH = 30;

/** Columns to write in; without a terminal there is no end. */
export function widthOf(stream: NodeJS.WriteStream): number {
  return stream.isTTY ? stream.columns : Infinity;
}

/** A text beside its label, or below it where it would be too narrow there. */
export function beside(label: string, text: string, width: number): string {
  if (width - label.length < LEAST_WIDTH) return `${label.trimEnd()}\n${indented(text, 6, width)}`;
  return `${label}${indented(text, label.length, width).trimStart()}`;
}

/** A line of a list with all that follows from it below: its further lines are set in by two blanks more. */
export function hanging(text: string, blanks: number, width: number): string {
  return indented(text, blanks + 2, width).slice(2);
}

/** Words in lines up to the width, each after so many blanks; the text's own ends of lines are none. */
export function indented(text: string, blanks: number, width: number): string {
  const room = width - blanks < LEAST_WIDTH ? Infinity : width - blanks;
  const lines: string[] = [];
  let line = '';
  for (const word of oneLine(text).split(' ')) {
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].map((each) => ' '.repeat(blanks) + each).join('\n');
}
