/** What users read where a server goes away. */
import { expect, test } from '@jest/globals';
import { CheckpointError } from '../../../src/errors.ts';
import { lostError } from '../../../src/app/temporal/lost.ts';

const named = (error: Error, more: object): Error => Object.assign(error, more);
const native = named(
  new Error(
    'tonic::transport::Error(Transport, ConnectError(ConnectError("tcp connect error", 127.0.0.1:7243, Os { code: 111, kind: ConnectionRefused, message: "Connection refused" })))',
  ),
  { name: 'TransportError' },
);
const unavailable = named(new Error('14 UNAVAILABLE: Connection dropped'), { code: 14, details: 'Connection dropped', metadata: {} });

test.each([
  ['the worker', native, 'Connection refused'],
  ['the client', new Error('Failed to start Workflow', { cause: unavailable }), '14 UNAVAILABLE: Connection dropped'],
])('in the words of %s: typed, with the run and what to do', (_, error, reason) => {
  const told = lostError(error, { what: 'run', workflowId: 'nightly-1' }) as CheckpointError;
  expect(told).toMatchObject({ code: 'CheckpointError', details: { reason: 'server_gone', workflow_id: 'nightly-1' }, cause: error });
  expect(told.message).toBe(
    `The Temporal server is gone, or cannot be reached any more: ${reason}. \`ckpt doctor\` looks at it. The run nightly-1, if it was there, goes on when the server is back: \`ckpt status nightly-1\` tells.`,
  );
});

test('what says it already gets the run alone; what is another matter stays as it is', () => {
  const gone = new CheckpointError('The embedded server has ended.', { details: { reason: 'server_gone' } });
  expect((lostError(gone, { what: 'batch', workflowId: 'b' }) as Error).message).toBe(
    'The embedded server has ended. The batch b, if it was there, goes on when the server is back: `ckpt batch status b` tells.',
  );
  const other = new CheckpointError('No room.', { cause: native });
  expect(lostError(other)).toBe(other);
});
