import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { textPlaces } from '../../src/model/text-places.ts';

/** The same as a `Map` says of each, however many are expected. */
function expectAsInMap(texts: readonly string[]): void {
  for (const expected of [0, 100, texts.length]) expectPlaces(texts, expected);
}

function expectPlaces(texts: readonly string[], expected: number): void {
  const places = textPlaces(expected);
  const map = new Map<string, number>();
  const others: string[] = [];
  for (const [place, text] of texts.entries()) {
    if (places.get(text) !== map.get(text) || places.add(text, place) !== map.get(text)) others.push(text);
    if (!map.has(text)) map.set(text, place);
  }
  for (const [text, place] of map) if (places.get(text) !== place) others.push(text);
  for (const text of ['', 'no such text', 'x'.repeat(1000)]) if (places.get(text) !== map.get(text)) others.push(text);
  expect(others).toEqual([]);
}

test('any texts have the places that a map has of them', () => {
  const text = fc.oneof(
    fc.string({ maxLength: 3 }),
    fc.string({ minLength: 120, maxLength: 140 }),
    fc.constantFrom('', '\ud800', '__proto__'),
  );
  fc.assert(fc.property(fc.array(text, { minLength: 200, maxLength: 1500, size: 'max' }), expectAsInMap), { numRuns: 30 });
});

test('very many texts, each twice', () => {
  const names = Array.from({ length: 20_000 }, (_, index) => `blocks.${index}.weight`);
  expectAsInMap([...names, ...names.map((name) => `${name.slice(0, 5)}${name.slice(5)}`)]);
});

/** FNV-1a from a state on, which is what the digest of a text begins with. */
function stateAfter(state: number, text: string): number {
  for (let at = 0; at < text.length; at++) state = Math.imul(state ^ text.charCodeAt(at), 0x01000193);
  return state;
}

/** Two texts that leave the same state. */
function twinsFrom(state: number): readonly [string, string] {
  const known = new Map<number, string>();
  for (let index = 0; ; index++) {
    // Texts that are counted up differ in few bits: it would take twenty times as many of them.
    const text = (Math.imul(index, 0x9e3779b1) >>> 0).toString(36).padStart(8, '-');
    const after = stateAfter(state, text);
    const twin = known.get(after);
    if (twin !== undefined) return [twin, text];
    known.set(after, text);
  }
}

test('texts that somebody has chosen to have one digest have their places, too', () => {
  const start = 0x811c9dc5;
  const twins: (readonly [string, string])[] = [];
  for (let block = 0, state = start; block < 10; block++) {
    const pair = twinsFrom(state);
    twins.push(pair);
    state = stateAfter(state, pair[0]);
  }
  const texts = Array.from({ length: 2 ** twins.length }, (_, index) => twins.map((pair, bit) => pair[(index >>> bit) & 1]).join(''));
  expect([new Set(texts).size, new Set(texts.map((text) => stateAfter(start, text))).size]).toEqual([2 ** 10, 1]);
  expectAsInMap(texts);
});
