/** `source.s3`: an object of an S3 store; pins its version and reads its header by ranges. */
import { z } from 'zod';
import { parseS3Source } from '../../src/io/s3/location.ts';
import { refusedBy } from '../option-checks.ts';
import { defineStage } from '../stage.ts';
import { expectedChecksum, stateDictKey, takeSource } from '../take-source.ts';

const options = z
  .strictObject({
    url: z
      .string()
      .superRefine(refusedBy(parseS3Source))
      .describe('s3://bucket/key of the checkpoint, or s3://bucket/prefix/ of a sharded one'),
    version_id: z.string().min(1).describe('version of the object; default: the newest, pinned when the stage runs').optional(),
    expected_checksum: expectedChecksum,
    state_dict_key: stateDictKey,
  })
  .superRefine(({ url, version_id: versionId }, context) => {
    if (versionId !== undefined && namesVersion(url))
      context.addIssue({ code: 'custom', path: ['version_id'], message: 'the `url` names a version, too: leave one of them out' });
  });

function namesVersion(url: string): boolean {
  try {
    return parseS3Source(url).versionId !== null;
  } catch {
    // What is wrong with it is said of the `url`.
    return false;
  }
}

export default defineStage({
  type: 'source.s3',
  description: 'Read a checkpoint from an S3 store: pin its version and read its header by ranges, never its tensor bytes',
  options,
  moves: ({ expected_checksum: expected }) => expected !== undefined,
  async run(call) {
    const { url, version_id: versionId, expected_checksum: expected, state_dict_key: key } = call.options;
    const uri = versionId === undefined ? url : `${url}?versionId=${versionId}`;
    return takeSource(call, { uri, type: 's3', expectedChecksum: expected, stateDictKey: key });
  },
});
