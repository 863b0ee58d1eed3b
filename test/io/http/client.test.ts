import { expect, test } from '@jest/globals';
import { redirected } from '../../../src/io/http/client.ts';

test.each([
  ['https://a/x', 'https://b/y?z', 'https://b/y?z'],
  ['http://a/x', 'https://b/y', 'https://b/y'],
  ['https://a/x/y', '../z', 'https://a/z'],
])('%s may lead to %s', (from, location, to) => expect(redirected(new URL(from), location, 302).href).toBe(to));

test.each([
  ['https://a/x', 'http://a/x', /from https to http/],
  ['https://a/x', 'file:///etc/passwd', /scheme file:/],
  ['https://a/x', 'http://[', /no URL/],
  ['http://a/x', 'http://user@b/', /user name or password/],
])('%s may not lead to %s', (from, location, why) => expect(() => redirected(new URL(from), location, 302)).toThrow(why));
