import { expect, test } from '@jest/globals';
import { retryAfter } from '../../src/io/store-fault.ts';

test.each([
  ['7', 7000],
  ['0', 0],
  ['86400', 3600_000],
  ['', undefined],
  ['soon', undefined],
  ['-5', undefined],
  [null, undefined],
])('Retry-After: %j', (header, ms) => expect(retryAfter(header)).toBe(ms));

test('Retry-After as a date counts from now; one that has passed asks for no pause', () => {
  const ms = retryAfter(new Date(Date.now() + 90_000).toUTCString());
  expect(ms).toBeGreaterThan(80_000);
  expect(ms).toBeLessThanOrEqual(90_000);
  expect(retryAfter(new Date(Date.now() - 90_000).toUTCString())).toBe(0);
});
