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

/** Each pair leaves one state, where all those before it stand in front. They were found by trying a hundred thousand texts for each. */
const TWINS: readonly (readonly [string, string])[] = [
  ['-1gky05b', '--42zml1'],
  ['-13bxacr', '-1ckk9nu'],
  ['-1wrb321', '-1octrgd'],
  ['-1hsidm5', '---hnfib'],
  ['-1l2mjta', '-14nnty1'],
  ['-12g1u30', '-1it4oi1'],
  ['-1xhkefm', '-1ox4tfh'],
  ['-15o1sht', '-1a4v1vr'],
  ['-1swlqwy', '-1w2d7jq'],
  ['-11nywpf', '--vtizd8'],
];

test('texts that somebody has chosen to have one digest have their places, too', () => {
  const texts = Array.from({ length: 2 ** TWINS.length }, (_, index) => TWINS.map((pair, bit) => pair[(index >>> bit) & 1]).join(''));
  expect([new Set(texts).size, new Set(texts.map((text) => stateAfter(0x811c9dc5, text))).size]).toEqual([2 ** TWINS.length, 1]);
  expectAsInMap(texts);
});
