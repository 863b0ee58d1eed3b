/**
 * Patterns over tensor names: RE2's engine, which knows neither backtracking nor lookaround, so time is the pattern's instructions times the
 * name's characters, and no more.
 *
 * That is still seconds for some pattern and very many names. So a pattern says what a name costs it, and whoever asks it of many lets others in
 * between (`slices`): a pattern from a document cannot stall a worker.
 */
import { RE2JS } from 're2js';
import { CheckpointConfigError, CheckpointIncompatibleError } from '../errors.ts';
import { plainRegex } from './plain-regex.ts';

/** Characters; people's longest rules have some hundred. */
const MOST_CHARACTERS = 1000;
/** Instructions of a compiled pattern: time is this times the name's length. */
const MOST_INSTRUCTIONS = 1000;
/** Instructions of all patterns of a stage: a name is matched in one go. */
const MOST_TOGETHER = 8000;
/** Characters of a name that an instruction is spent on: names in use have some hundred, those of a file may be megabytes. */
export const LONGEST_NAME = 4096;
/** Instructions in one go: some 10 to 200 ms. */
const SLICE = 2_000_000;
/** What text and stars cost, or a pattern that the engine's own expressions match. */
const PLAIN = 0.05;

/** A regular expression in RE2's syntax; throws `CheckpointConfigError` with the reason at `configPath`. */
export function compileRegex(pattern: string, configPath: string): RE2JS {
  if (pattern.length > MOST_CHARACTERS)
    throw new CheckpointConfigError(`A pattern has ${pattern.length} characters; the limit is ${MOST_CHARACTERS}.`, configPath);
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(pattern);
  } catch (cause) {
    throw new CheckpointConfigError(
      `\`${pattern}\` is not a valid RE2 expression: ${(cause as Error).message}. Lookaround and backreferences are not supported, as they cannot be matched in linear time.`,
      configPath,
      { cause },
    );
  }
  if (compiled.programSize() > MOST_INSTRUCTIONS)
    throw new CheckpointConfigError(
      `\`${pattern.slice(0, 200)}\` compiles to ${compiled.programSize()} instructions; the limit is ${MOST_INSTRUCTIONS}. Use smaller repeat counts.`,
      configPath,
    );
  return compiled;
}

/** What is wrong is said of the glob: nobody has written its regular expression. */
function compiledGlob(regex: string, glob: string, configPath: string): RE2JS {
  if (regex.length > MOST_CHARACTERS)
    throw new CheckpointConfigError(
      `A glob has ${glob.length} characters; the limit is ${MOST_CHARACTERS}, each special one counted twice.`,
      configPath,
    );
  try {
    return compileRegex(regex, configPath);
  } catch (cause) {
    throw new CheckpointConfigError(
      `\`${glob.slice(0, 200)}\` is not a glob that can be matched: is a range in \`[…]\` the wrong way round, or is it too long?`,
      configPath,
      { cause },
    );
  }
}

/** Whether a pattern fits a name; `cost`: instructions for a character of it. */
export type NameTest = ((name: string) => boolean) & { readonly cost: number };

/** Whether a pattern fits a name, and the name with all that fits replaced: `$1`, `$<name>`, `$&` and `$$` as in JavaScript. */
export interface Replacement {
  readonly cost: number;
  readonly fits: (name: string) => boolean;
  readonly apply: (name: string) => string;
}

export function compileReplacement(pattern: string, replacement: string, configPath: string): Replacement {
  const regex = compileRegex(pattern, configPath);
  const plain = plainRegex(pattern);
  if (plain !== null) return { cost: PLAIN, fits: (name) => plain.test(name), apply: plainReplacement(plain, replacement) };
  return {
    cost: regex.programSize(),
    fits: (name) => regex.test(checked(name)),
    apply: (name) => regex.matcher(checked(name)).replaceAll(replacement),
  };
}

/** `name.replace(plain, replacement)` of a pattern that is anchored, so fits once; in half the time where the replacement calls groups alone. */
function plainReplacement(plain: RegExp, replacement: string): (name: string) => string {
  const parts = replacement.split(/\$(\d)(?!\d)/).map((part, index) => (index % 2 === 0 ? part : Number(part)));
  const groups = new RegExp(`${plain.source}|`).exec('')!.length - 1;
  const isSimple = parts.every((part) => (typeof part === 'string' ? !part.includes('$') : part > 0 && part <= groups));
  if (!isSimple) return (name) => name.replace(plain, replacement);
  return (name) => {
    const found = plain.exec(name);
    if (found === null) return name;
    let next = '';
    for (const part of parts) next += typeof part === 'string' ? part : (found[part] ?? '');
    return next + name.slice(found[0].length);
  };
}

/**
 * A glob over whole names: `*` any characters (dots, too), `?` one, `[abc]` and `[!abc]` one of or none of, `{a,b}` either; a
 * backslash takes the next character as it is. Like Python's fnmatch, plus braces.
 */
export function compileGlob(glob: string, configPath: string): NameTest {
  if (!/[?[\]{}\\]/.test(glob)) return Object.assign(starGlob(glob), { cost: PLAIN });
  const regex = compiledGlob(`(?s:${regexOf(glob, IN_NAMES, configPath)})`, glob, configPath);
  return Object.assign((name: string) => regex.matches(checked(name)), { cost: regex.programSize() });
}

/** A glob over whole paths: `*` and `?` stay within a folder, `**` crosses them, `{a,b}` is either; all else is as it is. */
export function compilePathGlob(glob: string, configPath: string): (path: string) => boolean {
  const regex = compiledGlob(regexOf(glob, IN_PATHS, configPath), glob, configPath);
  return (path) => regex.matches(path);
}

function checked(name: string): string {
  if (name.length <= LONGEST_NAME) return name;
  throw new CheckpointIncompatibleError(
    `A name has ${name.length} characters, patterns are matched against ${LONGEST_NAME} at most: ${name.slice(0, 200)}… Use text and \`*\` alone, which fit names of any length.`,
    { details: { reason: 'long_name', characters: name.length } },
  );
}

/** Counts the work of matching names against all `patterns`; true when the caller should yield. Throws if the patterns together exceed `MOST_TOGETHER` instructions. */
export function slices(patterns: readonly { readonly cost: number }[], configPath: string): (name: string) => boolean {
  const cost = patterns.reduce((sum, each) => sum + each.cost, 0);
  if (cost > MOST_TOGETHER)
    throw new CheckpointConfigError(
      `The patterns of the stage compile to ${Math.round(cost)} instructions together; the limit is ${MOST_TOGETHER}. Use simpler ones, or several stages.`,
      configPath,
    );
  let spent = 0;
  return ({ length }) => {
    spent += cost * length;
    if (spent < SLICE) return false;
    spent = 0;
    return true;
  };
}

/** Text and `*` alone: what most people write, and in a fifth of the time. Each part is looked for once, from where the last one ended. */
function starGlob(glob: string): (name: string) => boolean {
  const [first = '', ...others] = glob.split('*');
  const last = others.pop();
  if (last === undefined) return (name) => name === glob;
  const least = first.length + last.length;
  return (name) => {
    if (name.length < least || !name.startsWith(first) || !name.endsWith(last)) return false;
    const end = name.length - last.length;
    let at = first.length;
    for (const part of others) {
      const found = name.indexOf(part, at);
      if (found === -1 || found + part.length > end) return false;
      at = found + part.length;
    }
    return true;
  };
}

/** What the wildcards of a glob stand for, as regular expressions. */
interface Wildcards {
  /** Longest first: the first that fits is taken. */
  readonly marks: readonly (readonly [mark: string, regex: string])[];
  /** Whether `[abc]` is one character of some, and a backslash takes the next character as it is. */
  readonly classes: boolean;
}

const IN_NAMES: Wildcards = {
  marks: [
    ['*', '.*'],
    ['?', '.'],
  ],
  classes: true,
};

const IN_PATHS: Wildcards = {
  marks: [
    ['**/', '(?:.*/)?'],
    ['**', '.*'],
    ['*', '[^/]*'],
    ['?', '[^/]'],
  ],
  classes: false,
};

/** The glob as a regular expression; braces that are not closed, or classes that are not, are a `CheckpointConfigError`. */
function regexOf(glob: string, { marks, classes }: Wildcards, configPath: string): string {
  let regex = '';
  let depth = 0;
  for (let at = 0; at < glob.length; at++) {
    const character = glob[at]!;
    const mark = marks.find(([text]) => glob.startsWith(text, at));
    if (mark !== undefined) {
      regex += mark[1];
      at += mark[0].length - 1;
    } else if (character === '{') regex += ((depth += 1), '(?:');
    else if (character === '}' && depth > 0) regex += ((depth -= 1), ')');
    else if (character === ',' && depth > 0) regex += '|';
    else if (character === '[' && classes) {
      const negated = glob[at + 1] === '!';
      // One that stands first is a character of the class.
      const end = glob.indexOf(']', at + (negated ? 3 : 2));
      if (end === -1) throw new CheckpointConfigError(`The glob \`${glob}\` has a \`[\` without its \`]\`.`, configPath);
      const inside = glob.slice(at + (negated ? 2 : 1), end);
      regex += `[${negated ? '^' : ''}${inside.replaceAll(/[\\^[\]&]/g, '\\$&')}]`;
      at = end;
    } else {
      const literal = character === '\\' && classes && at + 1 < glob.length ? glob[++at]! : character;
      regex += literal.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
    }
  }
  if (depth > 0) throw new CheckpointConfigError(`The glob \`${glob}\` has a \`{\` without its \`}\`.`, configPath);
  return regex;
}
