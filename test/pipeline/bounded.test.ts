/** Details on their way into a history of bounded size. */
import { expect, test } from '@jest/globals';
import { boundedDetails } from '../../src/pipeline/bounded.ts';

const size = (value: unknown): number => JSON.stringify(value).length;

test('ordinary details pass as they are', () => {
  const details = { path: '/x', num: 3, missing_keys: ['a', 'b'], shapes: { w: [[1], [2]] }, none: null };
  expect(boundedDetails(details)).toEqual(details);
});

test('what is not JSON becomes words; circles end', () => {
  const circle: Record<string, unknown> = { name: 'circle' };
  circle['self'] = circle;
  const found = boundedDetails({ circle, big: 3n, no: Number.NaN, gone: undefined, call: Math.max });
  expect(found).toMatchObject({ big: '3', no: 'NaN', gone: null, circle: { name: 'circle' } });
  expect(size(found)).toBeLessThan(1000);
});

test('no user name and password of a URI is repeated', () => {
  class Own {
    readonly at = 's3://bob:hunter2@bucket/x';
  }
  expect(boundedDetails({ own: new Own(), list: ['http://bob:hunter2@x/'] })).toEqual({
    own: { at: 's3://…@bucket/x' },
    list: ['http://…@x/'],
  });
});

test('huge ones are cut, the small ones beside them stay', () => {
  const names = Array.from({ length: 100_000 }, (_, i) => `layer.${i}.weight`);
  const found = boundedDetails({ missing_keys: names, text: 'x'.repeat(1e6), num_missing: names.length });
  expect(found['num_missing']).toBe(100_000);
  expect((found['missing_keys'] as readonly string[])[0]).toBe('layer.0.weight');
  const wide = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, 'y'.repeat(5000)]));
  for (const each of [found, boundedDetails(wide), boundedDetails({ wide, end: 1 })]) expect(size(each)).toBeLessThan(20_000);
  expect(boundedDetails({ wide, end: 1 })['end']).toBe(1);
});

test.each([null, undefined, 'text', 3])('%p gives none', (value) => {
  expect(boundedDetails(value)).toEqual({});
});

test('what refers to itself in many places, holds many bytes or throws takes no time', () => {
  const web: object[] = Array.from({ length: 50 }, () => ({}));
  for (const node of web) web.forEach((other, index) => Object.assign(node, { [`to_${index}`]: other }));
  const throwing = Object.defineProperty({}, 'broken', { enumerable: true, get: () => JSON.parse('{') });
  const found = boundedDetails({ web, bytes: Buffer.alloc(5 * 2 ** 20), throwing, end: 1 });
  expect(found).toMatchObject({ bytes: '5242880 bytes', throwing: { broken: expect.stringMatching(/^cannot be read: /) }, end: 1 });
  expect(size(found)).toBeLessThan(20_000);
});
