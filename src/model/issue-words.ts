/**
 * What a schema finds wrong with a value, in our words: what was expected, what was got, and what to write instead.
 *
 * Invariant: given to zod with each parse, so that what a schema says itself comes first.
 */
import type { z } from 'zod';
import { kindOf } from './kind-of.ts';
import { numberHint } from './number-hint.ts';
import { didYouMean } from './suggestions.ts';
import { within } from './text.ts';
import { booleanNamed } from './yaml-booleans.ts';

type Issue = z.core.$ZodRawIssue;

/** Bytes of a value that are shown. */
const SHOWN = 100;

const KINDS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  tuple: 'a list',
  object: 'a mapping',
  record: 'a mapping',
  null: 'null',
};

/** For zod's `error` of a parse; undefined: zod's own words. */
export function issueWords(issue: Issue): string | undefined {
  return words(issue, shown);
}

/** The same without what the value is, as it may be a secret. */
export function discreetIssueWords(issue: Issue): string | undefined {
  return words(issue, kindOf);
}

function words(issue: Issue, got: (value: unknown) => string): string | undefined {
  const { input } = issue;
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${kindNamed(issue.expected)}, got ${got(input)}.${got === shown ? remedy(issue.expected, input) : ''}`;
    case 'invalid_value': {
      const values = issue.values.map(String);
      // Of texts, as the words that it may be are.
      return `it is one of ${values.join(', ')}; got ${got(input).replace('the text ', '')}.${didYouMean(input, values)}`;
    }
    case 'invalid_union': {
      const kinds = (issue.errors ?? []).flatMap(([first]) =>
        first?.code === 'invalid_type' && first.path.length === 0 ? [kindNamed(first.expected)] : [],
      );
      return kinds.length === issue.errors?.length && kinds.length > 0
        ? `expected ${[...new Set(kinds)].join(' or ')}, got ${got(input)}.`
        : undefined;
    }
    case 'too_small':
    case 'too_big':
      return outOfBounds(issue, got);
    default:
      return undefined;
  }
}

function outOfBounds(issue: Extract<Issue, { code: 'too_small' | 'too_big' }>, got: (value: unknown) => string): string | undefined {
  const { origin, input, inclusive } = issue;
  const isSmall = issue.code === 'too_small';
  const bound = Number(isSmall ? issue.minimum : issue.maximum);
  if (origin === 'number' || origin === 'int')
    return `expected a number ${isSmall ? (inclusive === false ? 'above' : 'from') : inclusive === false ? 'below' : 'up to'} ${bound}, got ${got(input)}.`;
  const unit = { string: 'character', array: 'item', set: 'item' }[String(origin)];
  const length = (input as { readonly length?: unknown } | undefined)?.length;
  if (unit === undefined || typeof length !== 'number') return undefined;
  if (isSmall && length === 0) return `it is empty; expected at least ${counted(bound, unit)}.`;
  return `it has ${counted(length, unit)}, ${isSmall ? 'at least' : 'at most'} ${bound} ${isSmall ? 'are needed' : 'are taken'}.`;
}

function counted(count: number, unit: string): string {
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

function kindNamed(expected: string): string {
  return KINDS[expected] ?? `a value of the kind ${expected}`;
}

/** `the number 123`, `the text \`a\``, `true`, `a list`. */
export function shown(value: unknown): string {
  if (typeof value === 'string')
    return value === '' ? 'an empty text' : `the text \`${within(value, SHOWN)}${value.length > SHOWN ? '…' : ''}\``;
  if (typeof value === 'number') return `the number ${value}`;
  return typeof value === 'boolean' ? `\`${value}\`` : kindOf(value);
}

/** A text that stands in quotes as it is, and is not too long for it. */
function isPlain(value: unknown): value is string {
  return typeof value === 'string' && value.length <= SHOWN && !/['\n]/.test(value);
}

/** How the value would be written in YAML so that it is of that kind. */
function remedy(expected: string, value: unknown): string {
  const isScalar = ['string', 'number', 'boolean'].includes(typeof value);
  // Without the value: YAML has made it of `0123`, `1.10` or `yes`, perhaps, and in quotes it would be another text.
  if (expected === 'string' && isScalar) return ' Write it in quotes.';
  if (expected === 'array' && isScalar) return ` Write a list: \`[${isPlain(value) ? `'${value}'` : '…'}]\`.`;
  if (typeof value !== 'string') return '';
  if (expected === 'number' || expected === 'int') return numberHint(value);
  if (expected !== 'boolean') return '';
  const named = booleanNamed(value);
  return named === undefined ? '' : ` Write \`${named}\`${String(named) === value ? ', without quotes' : ''}.`;
}
