/** Items, and what one makes of the template. Workflow-safe. */
import { CheckpointConfigError, type Json } from '../errors.ts';
import { isMapping } from '../model/json.ts';
import { kindOf } from '../model/kind-of.ts';
import { didYouMean } from '../model/suggestions.ts';
import type { BatchItem } from './batch.ts';
import type { PipelineInput } from './contract.ts';

/** Characters of an item's JSON: pages of items pass through history. */
export const MOST_ITEM = 16 * 1024;

/** An entry of a list or a row of a manifest: a URI, or a mapping with `uri`, perhaps `key`, and columns. */
export function itemOf(given: unknown, place: string): BatchItem {
  const { uri, key, ...columns } = typeof given === 'string' ? { uri: given } : isMapping(given) ? given : {};
  if (typeof uri !== 'string' || uri === '')
    throw new CheckpointConfigError(`${place}: an item is a URI, or has one under \`uri\`; got ${described(given)}.`, place);
  // YAML has made of `0123` and `true` what no name can be made of again.
  if (typeof key !== 'string' && key !== undefined && key !== null)
    throw new CheckpointConfigError(
      `${place}: the \`key\` of an item is a text; got ${kindOf(key)}.${typeof key === 'object' ? '' : ' Write it in quotes.'}`,
      place,
    );
  if (JSON.stringify(given).length > MOST_ITEM)
    throw new CheckpointConfigError(
      `${place}: the item has ${JSON.stringify(given).length} characters, at most ${MOST_ITEM}. Leave out columns that the template does not use.`,
      place,
    );
  const texts = Object.entries(columns).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)] as const);
  return {
    uri,
    key: key || nameIn(uri),
    columns: Object.fromEntries(texts),
  };
}

/** What a URI ends in. Of a `file:` URI as the file has it, as it is in a folder's listing. */
function nameIn(uri: string): string {
  const last = uri.slice(uri.lastIndexOf('/') + 1);
  if (!/^file:/i.test(uri)) return last;
  try {
    return decodeURIComponent(last);
  } catch {
    // No URI, which its run says.
    return last;
  }
}

/** The template with the item's values in its strings; an unknown reference is a `CheckpointConfigError`. */
export function expand(template: PipelineInput, item: BatchItem): PipelineInput {
  const fill = fillerOf(item);
  const ofValue = (value: Json): Json => {
    if (typeof value === 'string') return fill(value);
    if (Array.isArray(value)) return value.map((each: Json) => ofValue(each));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, ofValue(each)]));
  };
  // A document is plain JSON and keeps its shape.
  return ofValue(template as unknown as Json) as unknown as PipelineInput;
}

/**
 * Throws `CheckpointConfigError` where the item's values would lead a location out of the folder that the template names. What it begins
 * with is named by nobody else: the item's own location may be anything.
 */
export function refuseClimbing(template: PipelineInput, item: BatchItem): void {
  const fill = fillerOf(item);
  const check = (value: Json, path: string): void => {
    if (typeof value === 'object' && value !== null)
      for (const [key, each] of Object.entries(value)) check(each, Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`);
    if (typeof value !== 'string' || !LOCATION.test(value)) return;
    const below = value.replace(LEADING, '');
    const made = fill(below);
    if (climbsOf(made) > climbsOf(below))
      throw new CheckpointConfigError(
        `\`${path}\` is \`${value}\`, and the values of ${item.key} lead out of that folder: ${JSON.stringify(made)} has a part \`.\` or \`..\` in place of a name. Give the item another \`key\`, or its whole location in a column of its own.`,
        path,
        { details: { item: item.key } },
      );
  };
  check(template as unknown as Json, 'pipeline');
}

/** Throws `CheckpointConfigError` where another item of the batch comes first at the place that this one would be published to. */
export function refuseTaken({ key, destination_of: other }: BatchItem): void {
  if (other === undefined) return;
  throw new CheckpointConfigError(
    `${key} would be published over ${other}: the template gives both one place. Tell them apart there with \`\${item.dir}\` or a column, and start the batch again.`,
    'pipeline',
    { details: { item: key, destination_of: other } },
  );
}

/** A text of the template that is a place in a file system or a store, wherever it stands: stages of plug-ins name theirs as they like. */
const LOCATION = /^(\/|~\/|[a-z][a-z0-9+.-]*:\/\/|\$\{item\.)/i;
const LEADING = /^\$\{item\.[^{}]+\}/;

/** Parts `.` and `..` of a path, also as a `file:` URI spells them: escaped, with backslashes, with ends of lines that it ignores. */
function climbsOf(location: string): number {
  const parts = location.replaceAll(/[\t\r\n]/g, '').split(/[/\\?#]/);
  return parts.filter((part) => /^(\.|%2e){1,2}$/i.test(part)).length;
}

function fillerOf(item: BatchItem): (text: string) => string {
  const name = item.key.slice(item.key.lastIndexOf('/') + 1);
  const values: Readonly<Record<string, string>> = {
    ...item.columns,
    uri: item.uri,
    key: item.key,
    stem: name.replace(/(?<=.)\.[^.]*$/, ''),
    dir: item.key.includes('/') ? item.key.slice(0, item.key.lastIndexOf('/')) : '',
  };
  return (text) => {
    const isUri = /^file:/i.test(text);
    // An item at the top has no folder, and then no slash after it.
    return text.replaceAll(/\$\{item\.([^{}]+)\}(\/?)/g, (_match, column: string, slash: string) => {
      const value = Object.hasOwn(values, column) ? values[column]! : undefined;
      if (value === undefined)
        throw new CheckpointConfigError(
          `The template refers to \`\${item.${column}}\`, which ${item.key} does not have.${didYouMean(column, Object.keys(values))}`,
          'pipeline',
          { details: { item: item.key } },
        );
      return value === '' && column === 'dir' ? '' : `${isUri ? escaped(value) : value}${slash}`;
    });
  };
}

/** A value in a `file:` URI, where these would be escapes themselves, begin a query or a fragment, part names, or be left out. */
function escaped(value: string): string {
  // oxlint-disable-next-line no-control-regex
  return value.replaceAll(/[\u0000-\u0020%?#\\]/g, encodeURIComponent);
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
