/** Half of a surrogate pair: a text in JavaScript and in JSON's escapes, yet none in UTF-8, where two of them become the same replacement. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Whether the text comes back from UTF-8 as it was. */
export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}
