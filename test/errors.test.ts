/** Errors across process boundaries: same class, same details; and what each says one can do. */
import { describe, expect, test } from '@jest/globals';
import {
  CheckpointConfigError,
  CheckpointError,
  CheckpointIncompatibleError,
  CheckpointLoadError,
  CheckpointNotFoundError,
  CheckpointSourceError,
  CheckpointTimeoutError,
  CheckpointValidationError,
  ERROR_CODES,
  errorOf,
  isCheckpointError,
  reportOf,
  type ErrorReport,
} from '../src/errors.ts';
import { suggestionFor } from '../src/pipeline/advice.ts';

const ERRORS: readonly CheckpointError[] = [
  new CheckpointError('m', { details: { a: 1 } }),
  new CheckpointNotFoundError('m', '/x', { details: { near: ['y'] } }),
  new CheckpointLoadError('m', null, { cause: new RangeError('far') }),
  new CheckpointIncompatibleError('m', { details: { missing_keys: ['a'], num_missing: 1 } }),
  new CheckpointValidationError('m', ['one', 'two']),
  new CheckpointConfigError('m', 'stages[0].path'),
  new CheckpointSourceError('m', 's3://b/k', { cause: new Error('reset') }),
  new CheckpointTimeoutError('m', 'stage', 3),
];

test('every class is here', () => {
  expect(ERRORS.map(({ code }) => code).sort()).toEqual([...ERROR_CODES].sort());
});

test.each(ERRORS.map((error) => [error.code, error] as const))('%s survives the way through JSON', (code, error) => {
  const back = errorOf(JSON.parse(JSON.stringify(error)) as ErrorReport, error);
  expect(back.constructor).toBe(error.constructor);
  expect(back).toBeInstanceOf(CheckpointError);
  expect([back.code, back.name, back.message, back.details, back.retryable]).toEqual([
    code,
    code,
    error.message,
    error.details,
    error.retryable,
  ]);
  expect(back.cause).toBe(error);
  expect(isCheckpointError(back)).toBe(true);
});

describe('no user name and password of a URI is repeated', () => {
  const uri = 'http://bob:hunter2@proxy.example/x';
  const forged = Object.assign(new Error(`proxy ${uri}`), { code: 'CheckpointLoadError', details: { tried: [uri] } });
  const circle: Record<string, unknown> = { uri };
  circle['self'] = [circle];

  test.each<[string, unknown]>([
    ['a plain error', new Error(`proxy ${uri}`)],
    ['a text that was thrown', `proxy ${uri}`],
    ['one of ours', new CheckpointError(`proxy ${uri}`, { details: { uri, tried: [uri, { at: uri }] } })],
    ['a cause', new CheckpointLoadError('m', null, { cause: new Error(`proxy ${uri}`) })],
    ['a cause of a source', new CheckpointSourceError('m', 's3://b/k', { cause: new Error(`proxy ${uri}`) })],
    ['one that a plug-in has made like ours', forged],
  ])('%s', (_, error) => {
    const said = JSON.stringify(reportOf(error));
    expect(said).toContain('://…@proxy.example/x');
    expect(said).not.toContain('hunter2');
  });

  test('details that hold themselves', () => {
    const { details } = new CheckpointError('m', { details: { circle } as never });
    const shown = details['circle'] as { readonly uri: string; readonly self: readonly unknown[] };
    expect(shown.uri).toBe('http://…@proxy.example/x');
    expect(shown.self[0]).toBe(shown);
  });

  test('nothing else is changed', () => {
    const details = { list: [1, null, 'a', { b: [] }], at: new Date(0) } as never;
    expect(new CheckpointError('m', { details }).details).toEqual(details);
    expect(reportOf(Object.assign(new Error('m'), { code: 'CheckpointError', details: null })).details).toBeNull();
  });
});

test('an unknown type is the base class', () => {
  expect(errorOf({ type: 'TypeError', message: 'm', details: {} })).toMatchObject({ code: 'CheckpointError', message: 'm' });
});

test('each code has advice, and a reason has its own', () => {
  const advice = ERROR_CODES.map((type) => suggestionFor({ type, message: '', details: {} }));
  expect(new Set(advice).size).toBe(ERROR_CODES.length);
  expect(suggestionFor({ type: 'CheckpointLoadError', message: '', details: { reason: 'weights_never_loaded' } })).toContain('loader');
  expect(suggestionFor({ type: 'CheckpointLoadError', message: '', details: { reason: 'unreadable' } })).toContain('chmod');
  // There may be none, as in `ckpt convert`.
  expect(suggestionFor({ type: 'CheckpointConfigError', message: '', details: {} })).not.toContain('the document');
  expect(suggestionFor({ type: 'CheckpointConfigError', message: '', details: { reason: 'own_source' } })).toContain('another place');
  expect(suggestionFor({ type: 'CheckpointConfigError', message: '', details: { reason: 'target_required' } })).toContain('`target`');
  expect(suggestionFor({ type: 'CheckpointError', message: '', details: { missing_fields: ['model'] } })).toContain('before');
  const timeout = (timeoutType: string) => ({ type: 'CheckpointTimeoutError', message: '', details: { timeout_type: timeoutType } });
  expect(suggestionFor(timeout('HEARTBEAT'))).toMatch(/memory/);
  expect(suggestionFor(timeout('START_TO_CLOSE'))).toContain('`timeout`');
  for (const type of ['constructor', 'other'])
    expect(suggestionFor({ type, message: '', details: { reason: 'toString' } })).toBe(advice[0]);
});

test.each([
  ['ftp://us:hush@h/x: the scheme', 'ftp://…@h/x: the scheme'],
  ['`s3://hush@more@b/k` and sftp://hush@h', '`s3://…@b/k` and sftp://…@h'],
  ['https://h/a@b?to=c@d#e@f', 'https://h/a@b?to=c@d#e@f'],
  ['`s3://AKIA:wJ/hu/sh@b/k` is gone', '`s3://…@b/k` is gone'],
  ['http://h:80/a@b and http://[::1]:80/a@b', 'http://h:80/a@b and http://[::1]:80/a@b'],
  ['{"uri":"s3://b/k:1","by":"a@b"}', '{"uri":"s3://b/k:1","by":"a@b"}'],
  ['write to a@b', 'write to a@b'],
])('no text of an error holds user information: %s', (given, shown) => {
  const error = new CheckpointSourceError(given, given, { cause: new Error(given), details: { more: given } });
  expect(error).toMatchObject({ message: shown, details: { source_path: shown, original_error: shown, more: shown } });
});

test.each(['EMFILE', 'ENFILE'])('a system that opens no more files (%s) says nothing of the file: what to do is said', (code) => {
  const error = Object.assign(new Error(`${code}: too many open files, open '/a.ckpt'`), { code });
  expect(reportOf(error)).toMatchObject({
    type: 'CheckpointError',
    message: `${code}: too many open files, open '/a.ckpt'. As many files are open as may be: \`ulimit -n\` shows how many.`,
    details: { reason: 'out_of_files' },
  });
});
