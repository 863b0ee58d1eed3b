/** The process of a replay that says nothing. */
import { expect, test } from '@jest/globals';
import { replayBundle } from '../../src/app/replay.ts';

test('it has a deadline from its start on', async () => {
  await expect(replayBundle('/tmp/run.zip', 30, 0.001)).rejects.toMatchObject({
    code: 'CheckpointTimeoutError',
    message: expect.stringContaining('has not begun within 0.001 s'),
  });
});
