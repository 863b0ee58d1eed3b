import { expect, test } from '@jest/globals';
import { oneLine, retryAfter, StoreFault } from '../../src/io/store-fault.ts';

test.each([
  ['7', 7000],
  ['0', 0],
  ['86400', 86_400_000],
  ['9'.repeat(400), Number.MAX_SAFE_INTEGER],
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

test.each([
  [60_000, true],
  [3_600_000, true],
  [3_601_000, false],
])('a store that asks for a pause of %d ms is asked again: %s', (retryAfterMs, retryable) => {
  expect(new StoreFault('', { code: 'SlowDown', retryable: true, retryAfterMs }).retryable).toBe(retryable);
});

test('what a store says is one short line', () => {
  expect(oneLine('a\n\u001b[31mb\n')).toBe('a [31mb');
  expect(oneLine('x'.repeat(15_000))).toBe('x'.repeat(200));
});
