/** Credentials that a store refuses are looked for anew. */
import { expect, jest, test } from '@jest/globals';
import { renewedKeys } from '../../../src/io/s3/keys.ts';

const keys = (accessKeyId: string) => ({ accessKeyId, secretAccessKey: 's' });

test('others make a new generation, the same do not; all who ask at the time share one look', async () => {
  let now = keys('old');
  let used = now;
  const ask = jest.fn(async (again: boolean) => (used = again ? now : used));
  const renewed = renewedKeys(ask);
  await renewed.renew(false);
  expect(renewed.generation()).toBe(0);
  now = keys('new');
  const looks = (): number => ask.mock.calls.filter(([again]) => again).length;
  expect(looks()).toBe(1);
  await Promise.all([renewed.renew(true), renewed.renew(true), renewed.renew(false)]);
  expect(looks()).toBe(2);
  expect(renewed.generation()).toBe(1);
  // Just looked for.
  await renewed.renew(false);
  expect(looks()).toBe(2);
});

test('where nobody gives any, those before stay', async () => {
  const renewed = renewedKeys((again) => (again ? Promise.reject(new Error('gone')) : Promise.resolve(keys('old'))));
  await renewed.renew(true);
  expect(renewed.generation()).toBe(0);
});
