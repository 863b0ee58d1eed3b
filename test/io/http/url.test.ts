import { expect, test } from '@jest/globals';
import { checkUrl, isSecretName } from '../../../src/io/http/url.ts';

test.each(
  `token api_token oauth_token job_token user_token private_token access.token accessToken refresh-token token2 id_token csrfToken accesstoken
  x-api-key key authkey authKey api_key apikey APIKey apiKey AWSAccessKeyId awsaccesskeyid OSSAccessKeyId GoogleAccessId googleaccessid
  Key-Pair-Id secret client_secret clientsecret secretKey password user[password] Passphrase passwd pwd auth oauth Authorization credential
  credentials X-Amz-Credential X-Goog-Credential X-Amz-Signature x-oss-signature Signature sig sign hmac jwt X-Amz-Security-Token session
  session_id sessionId JSESSIONID PHPSESSID sid ToKeN SIG`.split(/\s+/),
)('%s is a credential', (name) => {
  expect(isSecretName(name)).toBe(true);
  const url = `https://example.org/x.ckpt?download=1&${encodeURIComponent(name)}=hush`;
  expect(() => checkUrl(url)).toThrow(`https://example.org/x.ckpt: the parameter \`${name}\` is a credential`);
});

test('behind # as well, where it says what it is', () => {
  expect(() => checkUrl('https://example.org/x.ckpt#access_token=hush')).toThrow('the parameter `access_token` is a credential');
  expect(checkUrl('https://example.org/x.ckpt#keys')).toBe('https://example.org/x.ckpt');
});

test.each(
  `download raw ref path file filename id version revision rev branch tag commit name format dl confirm export expires X-Amz-Date
  keyword keywords monkey turkey hockey keyboard tokenizer tokenized author authority design designer assignment passage bypass compass
  secretary sigma side insider signal obsession versionId fileId inline response-content-disposition`.split(/\s+/),
)('%s is none', (name) => {
  expect(isSecretName(name)).toBe(false);
  expect(checkUrl(`https://example.org/x.ckpt?${name}=1`)).toBe(`https://example.org/x.ckpt?${name}=1`);
});

test.each(['//us:hu@sh@h/x.ckpt', 'https://us:hu sh@h:99999/x.ckpt', 'https://us:hu/sh@h/x.ckpt', 'ftp://us:hu?sh@h/x.ckpt'])(
  'of what is no URL, nothing before the last `@` is repeated: %s',
  (text) => {
    expect(() => checkUrl(text)).toThrow(/^(https:|ftp:)?\/\/…@h(:99999)?\/x\.ckpt is no http:\/\/ or https:\/\/ URL\.$/);
  },
);
