/**
 * Text for a terminal: what a file or a server says must not move the cursor, set a title, turn the direction of writing, or be unseen. Such
 * characters are shown as they are written in source code; ends of lines and tabs stay, and our own colours where they have been put on.
 */
import { CONTROLS, escapeControls, escapedControl } from '../../model/text.ts';

const COLORS = String.raw`\u001b\[(?:1|2|22|3[1-6]|39)m`;
const ACTED_ON = new RegExp(`(${COLORS})|${CONTROLS}`, 'gu');
const FOREIGN = new RegExp(CONTROLS, 'gu');

/** A whole output, painted already. */
export function visible(text: string): string {
  return text.replace(ACTED_ON, (found, color?: string) => color ?? escapedControl(found));
}

/**
 * A text of others, before it is painted: its colours are none of ours. One line is meant: a name with an end of line in it could
 * say what we never said.
 */
export function oneLine(text: string): string {
  return escapeControls(text).replaceAll('\n', '\\n');
}

/** The same of every text in a value that is shown in parts, some of them painted. */
export function inLines<T>(value: T): T {
  const shown = (part: unknown): unknown => {
    if (typeof part === 'string') return oneLine(part);
    if (Array.isArray(part)) return part.map(shown);
    if (typeof part !== 'object' || part === null) return part;
    return Object.fromEntries(Object.entries(part).map(([key, each]) => [key, shown(each)]));
  };
  // The shape stays.
  return shown(value) as T;
}

/** The same in a JSON text, where it stays the same value. */
export function visibleJson(text: string): string {
  return text.replace(FOREIGN, (found) => found.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`));
}
