/** A workspace that cannot be written. */
import { expect, test } from '@jest/globals';
import { CheckpointError } from '../../../src/errors.ts';
import { unwritable } from '../../../src/io/workspace/unwritable.ts';

const failed = (code: string, message: string): Error => Object.assign(new Error(message), { code });

test.each(['ENOSPC', 'EDQUOT'])(
  'a full disk is told as that, with the setting that chose the folder; another attempt may find room (%s)',
  (code) => {
    // As whoever writes a file hands it on.
    const cause = new CheckpointError('/w/blobs/a cannot be written: no space left on device.', { cause: failed(code, 'no space left') });
    const error = unwritable('/w', 'document', cause);
    expect(error).toMatchObject({ code: 'CheckpointError', retryable: true, details: { reason: 'workspace_full', path: '/w' } });
    expect(error.message).toMatch(/^No room in the workspace \/w: .* on device\. Free .*`ckpt gc`.* by `workspace` of the document\.$/);
    expect(unwritable('/w', 'worker', cause).message).toContain('CKPT_WORKSPACE of the worker');
  },
);

test('any other error is one of storage, and says whose setting it is', () => {
  const error = unwritable('/w', 'worker', failed('EACCES', 'permission denied'));
  expect(error).toMatchObject({ code: 'CheckpointSourceError', details: { reason: 'workspace_unwritable', source_path: '/w' } });
  expect(error.message).toBe(
    'The workspace /w cannot be written: permission denied. Name a folder that all workers can write by CKPT_WORKSPACE of the worker.',
  );
});
