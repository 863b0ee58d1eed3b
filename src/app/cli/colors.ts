/** Colours, where they are seen and wanted: on a terminal that has them. Node asks for NO_COLOR, FORCE_COLOR and TERM itself. */
import { styleText } from 'node:util';

export type Color = 'green' | 'red' | 'yellow' | 'dim' | 'bold';
export type Paint = (color: Color, text: string) => string;

export function paintFor(stream: NodeJS.WriteStream): Paint {
  // Only terminals have the question.
  const colored = stream.isTTY === true && stream.hasColors();
  return (color, text) => (colored && text !== '' ? styled(color, text) : text);
}

function styled(color: Color, text: string): string {
  // What Node is asked here differs between its versions; it has been asked already.
  return styleText(color, text, { validateStream: false } as object);
}
