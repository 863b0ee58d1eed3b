import { expect, test } from '@jest/globals';
import { checkUrl, isSecretName, refuseCredential } from '../../../src/io/locations/credentials.ts';

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
  'of what is not a URL, nothing before the last `@` is repeated: %s',
  (text) => {
    expect(() => checkUrl(text)).toThrow(/^(https:|ftp:)?\/\/…@h(:99999)?\/x\.ckpt is not an http:\/\/ or https:\/\/ URL\.$/);
  },
);

test.each([
  ['https:/us:hush@h/x', 'https:/…@h/x'],
  ['https:us:hush@h/x', 'https:…@h/x'],
  [' HTTPS:\\\\us:hush@h/x', ' HTTPS:\\\\…@h/x'],
  ['https://h:99999999/x#access_token=hush', 'https://h:99999999/x'],
])('what begins as an HTTP URL and is not one is neither a path nor repeated: %s', (text, shown) => {
  expect(() => refuseCredential(text, 'x')).toThrow(`${shown} is not an http:// or https:// URL.`);
});

test.each([
  ['s3://AKIA:wJ/hu/sh@bucket/o.ckpt', 's3://…@bucket/o.ckpt'],
  ['s3://AKIA:9/hush@bucket/o.ckpt', 's3://…@bucket/o.ckpt'],
  ['S3://hush@bucket/user@host/x', 'S3://…@host/x'],
  ['s3://us?er:hu/sh@bucket/x', 's3://…@bucket/x'],
  ['s3://AKIA:hush/bucket/o.ckpt', 's3://…'],
  ['s3://arn:aws:hush@bucket/o.ckpt', 's3://…@bucket/o.ckpt'],
  [' sftp://us:hu/sh@h/x?token=hush', ' sftp://…@h/x'],
  ['//us:hush@h/x', '//…@h/x'],
  ['s3:/AKIA:hush@bucket/x', 's3:/…@bucket/x'],
  ['s3:AKIA:hush@bucket/x', 's3:…@bucket/x'],
  ['https://us:12?hu@h/x', 'https://…@h/x'],
  [' https://us:hush@h/x', ' https://…@h/x'],
  ['redis://:hush@[::1]:6379/0', 'redis://…@[::1]:6379/0'],
])('a user or a password of any scheme is refused, and not repeated: %s', (uri, shown) => {
  expect(() => refuseCredential(uri, 'x')).toThrow(`${shown}: a user name or password`);
  expect(() => refuseCredential(uri, 'x')).toThrow(/[^.]\.$/);
});

test.each([
  ['s3://bucket/x.ckpt?X-Amz-Credential=AKIA&X-Amz-Signature=hush', 's3://bucket/x.ckpt', 'X-Amz-Credential'],
  ['s3://bucket/x.ckpt?versionId=abc&X-Amz-Signature=hush', 's3://bucket/x.ckpt', 'X-Amz-Signature'],
  ['s3://bucket/x.ckpt?token=hush', 's3://bucket/x.ckpt', 'token'],
  ['s3://bucket/x?y?%74oken=hush', 's3://bucket/x', 'token'],
  ['s3://bucket/x.ckpt?a=1;sig=hush', 's3://bucket/x.ckpt', 'sig'],
  ['file:///x.ckpt?token=hush', 'file:///x.ckpt', 'token'],
  ['s3://bucket/x.ckpt#a=1&access_token=hush', 's3://bucket/x.ckpt', 'access_token'],
  ['s3://bucket/x.ckpt#X-Amz-Signature=hush', 's3://bucket/x.ckpt', 'X-Amz-Signature'],
  ['file:///x.ckpt#AWSAccessKeyId=hush', 'file:///x.ckpt', 'AWSAccessKeyId'],
  ['s3://bucket/x#y?sig=hush', 's3://bucket/x', 'sig'],
  ['https://h/x.ckpt?a=1;token=hush', 'https://h/x.ckpt', 'token'],
  ['https://h/x.ckpt#/?token=hush', 'https://h/x.ckpt', 'token'],
  ['gs://bucket/x.ckpt#access_token=hush', 'gs://bucket/x.ckpt', 'access_token'],
])('a parameter of any scheme that is a credential is refused: %s', (uri, shown, name) => {
  expect(() => refuseCredential(uri, 'x')).toThrow(`${shown}: the parameter \`${name}\` is a credential`);
});

test.each([
  's3://bucket/user@host/x.ckpt',
  's3://bucket/a:b@c/x.ckpt',
  's3://bucket/what?.ckpt',
  's3://bucket/is this the key?/x#1.ckpt',
  's3://bucket/x.ckpt?versionId=a.B_1',
  's3://bucket/token=3/key=4/x.ckpt',
  's3://bucket/sweep?lr=1e-3&seed=4.ckpt',
  's3://arn:aws:s3:eu-west-1:123456789012:accesspoint/a/x.ckpt',
  's3://localhost:9000/bucket/x.ckpt',
  'http://localhost:9000/bucket/x@1.ckpt',
  '//server/user@host/x:1.ckpt',
  'sftp://[::1]:22/x.ckpt',
  's3://bucket/run#key=5/x.ckpt',
  's3://bucket/step=1000#sig=2',
  'file:///run#token=3/x.ckpt',
  'file:///a@b/x%3Ftoken=1.ckpt',
  '/runs/me:pw@host/x.ckpt?token=1',
  'runs/x.ckpt?token=1',
  'a: b@c://d',
])('a name that holds such characters is none: %s', (uri) => {
  expect(() => refuseCredential(uri, 'x')).not.toThrow();
});
