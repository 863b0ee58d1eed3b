/** Which stores the doctor looks at: those that its arguments and the settings name. */
import { expect, test } from '@jest/globals';
import { storeFindings } from '../../../src/app/doctor/stores.ts';
import { createStorage, type Storage } from '../../../src/io/storage/storage.ts';

test('the bucket of a URI, whose scheme may be written in capitals', async () => {
  const asked: string[] = [];
  const s3 = async (uri: string): Promise<never> => {
    asked.push(uri);
    throw new Error('nobody answers');
  };
  const storage: Storage = { ...createStorage(), s3 };
  const found = await storeFindings(storage, ['S3://models/', 's3://models/nightly/', '/srv/models', 's3://others?x']);
  expect(asked.map((uri) => new URL(uri).host)).toEqual(['models', 'others']);
  expect(found).toMatchObject([{ status: 'problem', message: 's3://models: nobody answers' }, { status: 'problem' }]);
});
