/**
 * Words that YAML 1.1 takes for booleans, as Hydra's reader does, and YAML 1.2, which our own documents are in, for texts.
 * Only these spellings count: https://yaml.org/type/bool.html, without the single letters that PyYAML leaves texts, too.
 */
const YES = ['true', 'True', 'TRUE', 'yes', 'Yes', 'YES', 'on', 'On', 'ON'];
const NO = ['false', 'False', 'FALSE', 'no', 'No', 'NO', 'off', 'Off', 'OFF'];

/** Undefined: it is no such word. */
export function booleanNamed(word: unknown): boolean | undefined {
  if (typeof word !== 'string') return undefined;
  return YES.includes(word) ? true : NO.includes(word) ? false : undefined;
}

/** What to do about such a word where a boolean is wanted; empty for all else. */
export function booleanHint(value: unknown): string {
  return booleanNamed(value) === undefined ? '' : ` \`${String(value)}\` is a text here: write true or false.`;
}
