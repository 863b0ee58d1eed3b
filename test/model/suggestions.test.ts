import { expect, test } from '@jest/globals';
import { didYouMean, editDistance, nearNames } from '../../src/model/suggestions.ts';

const TYPES = ['source.local', 'loader.weights_only', 'sink.publish'];

test.each([
  ['source.lcoal', ['source.local']],
  ['SINK.PUBLISH', ['sink.publish']],
  ['publish', ['sink.publish']],
  ['', []],
  ['quantize', []],
])('near names of %j', (wanted, expected) => {
  expect(nearNames(wanted, TYPES)).toEqual(expected);
});

test('distance is Levenshtein', () => {
  expect(editDistance('kitten', 'sitting')).toBe(3);
  expect(editDistance('', 'abc')).toBe(3);
});

test('no suggestion, no sentence', () => {
  expect(didYouMean('zzz', TYPES)).toBe('');
  expect(didYouMean('sink.publsh', TYPES)).toBe(' Did you mean `sink.publish`?');
});
