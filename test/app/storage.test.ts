/** What a worker is refused before it takes work. */
import { expect, test } from '@jest/globals';
import { readEnvironment } from '../../src/app/environment.ts';
import { workerStorage } from '../../src/app/storage.ts';

test.each(['s3://bucket/w?X-Amz-Signature=hush', 's3://AKIA:wJ/hush@bucket/w'])('a workspace with a credential: %s', async (workspace) => {
  const environment = { ...readEnvironment(), workspace };
  await expect(workerStorage({ inputs: 'own', environment })).rejects.toMatchObject({
    code: 'CheckpointConfigError',
    message: expect.not.stringContaining('hush'),
    details: { config_path: 'CKPT_WORKSPACE' },
  });
});
