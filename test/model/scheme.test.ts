import { expect, test } from '@jest/globals';
import { isLocal, schemeOf } from '../../src/model/scheme.ts';

test.each<readonly [location: string, scheme: string | null, local: boolean]>([
  ['/srv/last.ckpt', null, true],
  ['last.ckpt', null, true],
  ['~/runs/last.ckpt', null, true],
  ['file:///srv/last.ckpt', 'file', true],
  ['FILE:///srv/last.ckpt', 'file', true],
  ['S3://models/a', 's3', false],
  ['https://host/a', 'https', false],
  [' https://host/a', 'https', false],
  ['https:/host/a', 'https', false],
  ['HTTP:host/a', 'http', false],
  ['git+ssh://host/a', 'git+ssh', false],
  ['c:/a', null, true],
  ['/srv/a://b', null, true],
])('%s', (location, scheme, local) => {
  expect(schemeOf(location)).toBe(scheme);
  expect(isLocal(location)).toBe(local);
});
