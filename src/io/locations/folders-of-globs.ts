/**
 * Which folders a glob over paths can have matches in: others need not be read.
 *
 * Invariant: never false for a folder that holds a match; true for some that hold none.
 */
import { compilePathGlob } from '../../transform/patterns.ts';

/** Globs without braces that one is looked at as; one that comes to more is taken to reach everything. */
const MOST_ALTERNATIVES = 256;

/** Whether a match can lie below the folder, of which the path ends in a slash; `''` is the top. */
export function foldersOf(globs: readonly string[]): (folder: string) => boolean {
  const reaching = globs.flatMap((glob) => (alternatives(glob) ?? ['**']).map(reachOf));
  return (folder) => {
    const names = folder.split('/').slice(0, -1);
    return reaching.some((reaches) => reaches(names));
  };
}

/** Of a glob without braces: folder by folder, and wherever it leads from the first `**` on. */
function reachOf(glob: string): (names: readonly string[]) => boolean {
  const parts = glob.split('/');
  const crossing = parts.findIndex((part) => part.includes('**'));
  const folders = (crossing === -1 ? parts.slice(0, -1) : parts.slice(0, crossing)).map((part) => compilePathGlob(part, 'items.glob'));
  return (names) =>
    (names.length <= folders.length || crossing !== -1) && folders.every((fits, depth) => depth >= names.length || fits(names[depth]!));
}

/** What the braces of a glob stand for, without braces; null where that is too much. */
function alternatives(glob: string): readonly string[] | null {
  const done: string[] = [];
  const pending = [glob];
  for (let one = pending.pop(); one !== undefined; one = pending.pop()) {
    if (done.length + pending.length >= MOST_ALTERNATIVES) return null;
    const braces = firstBraces(one);
    if (braces === null) done.push(one);
    else pending.push(...braces);
  }
  return done;
}

/** The glob with each alternative in place of its first braces; null where it has none. */
function firstBraces(glob: string): readonly string[] | null {
  const start = glob.indexOf('{');
  if (start === -1) return null;
  const commas: number[] = [];
  let depth = 0;
  let end = start;
  for (; end < glob.length; end++) {
    if (glob[end] === '{') depth++;
    else if (glob[end] === '}' && --depth === 0) break;
    else if (glob[end] === ',' && depth === 1) commas.push(end);
  }
  const marks = [start, ...commas, end];
  return marks.slice(1).map((mark, index) => glob.slice(0, start) + glob.slice(marks[index]! + 1, mark) + glob.slice(end + 1));
}
