/** Items, and what one makes of the template. Workflow-safe. */
import { CheckpointConfigError, type Json } from '../errors.ts';
import { isMapping } from '../model/json.ts';
import type { BatchItem } from './batch.ts';
import type { PipelineInput } from './contract.ts';
import { didYouMean } from './suggestions.ts';

/** Characters of an item's JSON: pages of items pass through history. */
const MOST_ITEM = 16 * 1024;

/** An entry of a list or a row of a manifest: a URI, or a mapping with `uri`, perhaps `key`, and columns. */
export function itemOf(given: unknown, place: string): BatchItem {
  const { uri, key, ...columns } = typeof given === 'string' ? { uri: given } : isMapping(given) ? given : {};
  if (typeof uri !== 'string' || uri === '')
    throw new CheckpointConfigError(`${place}: an item is a URI, or has one under \`uri\`; got ${described(given)}.`, place);
  if (JSON.stringify(given).length > MOST_ITEM)
    throw new CheckpointConfigError(
      `${place}: the item has ${JSON.stringify(given).length} characters, at most ${MOST_ITEM}. Leave out columns that the template does not use.`,
      place,
    );
  const texts = Object.entries(columns).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)] as const);
  return {
    uri,
    key: typeof key === 'string' && key !== '' ? key : uri.slice(uri.lastIndexOf('/') + 1),
    columns: Object.fromEntries(texts),
  };
}

/** The template with the item's values in its strings; an unknown reference is a `CheckpointConfigError`. */
export function expand(template: PipelineInput, item: BatchItem): PipelineInput {
  const name = item.key.slice(item.key.lastIndexOf('/') + 1);
  const values: Readonly<Record<string, string>> = {
    ...item.columns,
    uri: item.uri,
    key: item.key,
    stem: name.replace(/(?<=.)\.[^.]*$/, ''),
    dir: item.key.includes('/') ? item.key.slice(0, item.key.lastIndexOf('/')) : '',
  };
  const ofText = (text: string): string =>
    // An item at the top has no folder, and then no slash after it.
    text.replaceAll(/\$\{item\.([^{}]+)\}(\/?)/g, (_match, column: string, slash: string) => {
      const value = Object.hasOwn(values, column) ? values[column]! : undefined;
      if (value === undefined)
        throw new CheckpointConfigError(
          `The template refers to \`\${item.${column}}\`, which ${item.key} does not have.${didYouMean(column, Object.keys(values))}`,
          'pipeline',
          { details: { item: item.key } },
        );
      return value === '' && column === 'dir' ? '' : `${value}${slash}`;
    });
  const ofValue = (value: Json): Json => {
    if (typeof value === 'string') return ofText(value);
    if (Array.isArray(value)) return value.map((each: Json) => ofValue(each));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, ofValue(each)]));
  };
  // A document is plain JSON and keeps its shape.
  return ofValue(template as unknown as Json) as unknown as PipelineInput;
}

/** Without values of a row, which may be none for a history. */
function described(given: unknown): string {
  if (isMapping(given))
    return `an object of ${
      Object.keys(given)
        .slice(0, 10)
        .map((name) => `\`${name.slice(0, 40)}\``)
        .join(', ') || 'no fields'
    }`;
  return Array.isArray(given) ? 'a list' : typeof given === 'string' ? 'an empty text' : String(given);
}
