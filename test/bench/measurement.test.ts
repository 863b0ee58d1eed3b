/** Figures of the bench: medians, ratios and verdicts. */
import { expect, test } from '@jest/globals';
import { measurement, sampleOf } from '../../bench/measurement.ts';

test('the median of an even number of runs lies between the middle two', () => {
  expect(sampleOf([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4, runs: [4, 1, 3, 2] });
  expect(sampleOf([9, 1, 5]).median).toBe(5);
  expect(() => sampleOf([])).toThrow(RangeError);
});

test('a budget is judged on our median or on the ratio of medians', () => {
  const base = { row: 'r', what: 'w', unit: 'ms', ours: [130, 10, 500], peer: { name: 'p', runs: [100] } } as const;
  expect(measurement(base)).toMatchObject({ ratio: 1.3, budget: null, met: null });
  expect(measurement({ ...base, budget: { text: '1.3×', limit: 1.3, of: 'ratio' } }).met).toBe(true);
  expect(measurement({ ...base, budget: { text: '1.2×', limit: 1.2, of: 'ratio' } }).met).toBe(false);
  expect(measurement({ ...base, budget: { text: '129 ms', limit: 129, of: 'ours' } }).met).toBe(false);
});
