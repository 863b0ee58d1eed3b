/**
 * JSON text for values that are mostly long lists of alike objects, as headers and plans are: such a list is written as columns, so that
 * names of fields stand there once and what all rows share does, too. A third of the text, and of the time to write and to read it.
 *
 * Long columns that values share are parts: texts of their own, which the value's text calls by their digests. So what a stage leaves
 * alone is written once for all stages, and a name's list once for all that names the same.
 *
 * Invariant: reading (`read.ts`) what was written (`write.ts`) gives what `JSON.parse(JSON.stringify(value))` would, with keys in their
 * order; one value has one text, so that texts can be known by their digest. Rows that are equal in all fields may come back as one object,
 * and lists that are equal as one: what is read is not to be changed.
 *
 * A value is written as itself where it is a primitive, else as a tagged list:
 *
 *     ["v", value]                       as it is
 *     ["o", [key …], [value …]]          an object
 *     ["a", [value …]]                   a short list
 *     ["l", count, column]               a long one
 *
 *     ["p", [sha256 …], value]           the whole, where it has parts
 *
 * and a column of `count` values as
 *
 *     ["=", primitive]                   the same in all rows
 *     ["+", number, step]                whole numbers, each by as much above the one before
 *     ["v", [value …]]                   as they are
 *     ["a", [value …]]                   each written as above
 *     ["r", [key …], [column …]]         objects of the same keys
 *     ["t", [column …]]                  lists of the same length
 *     ["m", places, [[count, column] …]] of several such kinds; `places` has a letter for each row
 *     ["#", sha256]                      the part of this digest, which is a column
 */

/** In `places` of a column of several kinds, the letter of the first. */
export const FIRST_LETTER = 97;

export function isPrimitive(value: unknown): boolean {
  return typeof value !== 'object' || value === null;
}
