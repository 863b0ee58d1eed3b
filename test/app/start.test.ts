/** What is refused before anything is sent to the server, whoever starts it. */
import { expect, test } from '@jest/globals';
import type { Client } from '@temporalio/client';
import { CheckpointBatches } from '../../src/app/batch-client.ts';
import { CheckpointClient } from '../../src/app/client.ts';
import { newId, startOptions, type Access, type Work } from '../../src/app/start.ts';
import type { CheckpointError } from '../../src/errors.ts';
import { checkBatchId } from '../../src/pipeline/batch-document.ts';
import type { PipelineInput } from '../../src/pipeline/contract.ts';

const FINE: PipelineInput = {
  stages: [
    { type: 'source.local', path: '/a.ckpt' },
    { type: 'sink.publish', uri: 's3://b/user@site/x' },
  ],
};
const withSink = (uri: string): PipelineInput => ({ stages: [...FINE.stages.slice(0, 1), { type: 'sink.publish', uri }] });
const batch = (items: unknown, pipeline = FINE): Work => ({ kind: 'batch', input: { items, pipeline } as never });

test.each<[string, Work, string]>([
  ['an output of an unknown scheme', { kind: 'pipeline', input: withSink('ftp://us:hush@h/x') }, 'stages[1].uri'],
  ['a user name alone', { kind: 'pipeline', input: withSink('sftp://hush@h/x') }, 'stages[1].uri'],
  ['an output in S3', { kind: 'pipeline', input: withSink('s3://us:hush@bucket/x') }, 'stages[1].uri'],
  ['an output over HTTP', { kind: 'pipeline', input: withSink('https://h/x?api_token=hush') }, 'stages[1].uri'],
  ['a workspace', { kind: 'pipeline', input: { ...FINE, workspace: 'gs://us:hush@h/x' } }, 'workspace'],
  ['an output in S3 whose secret holds a slash', { kind: 'pipeline', input: withSink('s3://AKIA:wJ/hush@bucket/x') }, 'stages[1].uri'],
  ['an output with a token', { kind: 'pipeline', input: withSink('s3://bucket/x?token=hush') }, 'stages[1].uri'],
  ['a workspace in S3', { kind: 'pipeline', input: { ...FINE, workspace: 's3://bucket/w?X-Amz-Signature=hush' } }, 'workspace'],
  ['a local item by its URI', batch(['file:///x.ckpt?token=hush']), 'items[0]'],
  ['the results of a batch', { kind: 'batch', input: { items: ['/a.ckpt'], pipeline: FINE, results: 's3://A:h/ush@b/r' } }, 'results'],
  ['the template of a batch', batch(['/a.ckpt'], withSink('ftp://us:hush@h/${item.key}')), 'pipeline.stages[1].uri'],
  ['an item', batch(['/a.ckpt', 'ftp://us:hush@h/x']), 'items[1]'],
  ['a column of an item', batch([{ uri: '/a.ckpt', to: 'ftp://us:hush@h/x' }]), 'items[0].to'],
  ['the folder of the items', batch({ uri: 'ftp://us:hush@h/' }), 'items.uri'],
])('a credential in %s', (_, work, path) => {
  let refused: CheckpointError | undefined;
  try {
    startOptions(work, []);
  } catch (error) {
    refused = error as CheckpointError;
  }
  expect(refused).toMatchObject({ code: 'CheckpointConfigError', details: { config_path: path } });
  expect(JSON.stringify([refused!.message, refused!.details, refused!.stack])).not.toContain('hush');
});

test('what is short in a document is sent in full, and looked at as such', () => {
  const stages = [{ type: 'source.s3', url: 's3://b/a.ckpt' }, ...FINE.stages.slice(1)];
  const short = { source: 's3://b/a.ckpt', stages: FINE.stages.slice(1), 'x-anchors': {} };
  expect(startOptions({ kind: 'pipeline', input: short }, [])).toMatchObject({
    args: [{ stages }],
    staticSummary: 'pipeline: source.s3 → sink.publish',
  });
  expect(startOptions(batch(['/a.ckpt'], short), []).args).toEqual([{ items: ['/a.ckpt'], pipeline: { stages } }]);
});

test('a relative location is refused before anything is sent, also of a short source', async () => {
  const pipelines = new CheckpointClient({ client: { options: {} } as never });
  await expect(pipelines.start({ source: 'a.ckpt', stages: [] })).rejects.toMatchObject({ details: { config_path: 'stages[0].path' } });
});

test('an `@` further behind is none', () => {
  expect(startOptions({ kind: 'pipeline', input: FINE }, []).args).toEqual([FINE]);
  expect(startOptions(batch([{ uri: 'https://h/a@b.ckpt' }]), []).args).toHaveLength(1);
});

test('an answer to a run that waits is looked at like the run', async () => {
  const client = new CheckpointClient({ client: {} as Client });
  const answer = client.resolveFailure('run', { action: 'retry', options: { uri: 's3://AKIA:wJ/hush@bucket/x' } });
  await expect(answer).rejects.toMatchObject({
    message: expect.not.stringContaining('hush'),
    details: { config_path: 'options.uri' },
  });
});

test('an id that the server would not take is refused before it is asked', async () => {
  const batches = new CheckpointBatches({} as Access);
  const start = (workflowId: string) => batches.start({ items: ['/a.ckpt'], pipeline: FINE }, { workflowId });
  await expect(start('x'.repeat(1001))).rejects.toMatchObject({
    code: 'CheckpointConfigError',
    message: expect.stringMatching(/1001 bytes; the limit is 1000.*--id/),
  });
  await expect(start('a\nb')).rejects.toMatchObject({ message: expect.stringContaining('U+000A') });
  await expect(start('\u001b[31m')).rejects.toMatchObject({ code: 'CheckpointConfigError' });
});

test('ids of every kind have room behind the longest name', () => {
  const name = 'n'.repeat(500);
  expect(startOptions({ kind: 'pipeline', input: { ...FINE, name } }, []).args).toHaveLength(1);
  const id = newId({ kind: 'batch', input: { name, items: [], pipeline: FINE } });
  // A second try of a batch, or one that Nexus starts.
  for (const made of [`${id}-retry-01234567`, `${name}-01234567-89ab-cdef-0123-456789abcdef`, `${name}-2026-11-01T03:00:00Z`])
    expect(() => checkBatchId(made)).not.toThrow();
  expect(() => startOptions({ kind: 'pipeline', input: { ...FINE, name: `${name}n` } }, [])).toThrow('501 bytes; the limit is 500');
});
