/** `source.local`: a checkpoint on a disk that the worker sees; pins it and reads its header. */
import { z } from 'zod';
import { CheckpointConfigError } from '../../src/errors.ts';
import { localPath, localUri } from '../../src/io/local-file.ts';
import { refusedBy } from '../option-checks.ts';
import { defineStage } from '../stage.ts';
import { expectedChecksum, takeSource } from '../take-source.ts';

const options = z.strictObject({
  path: z.string().min(1).superRefine(refusedBy(localPath)).describe('absolute path or file:// URI of the checkpoint').optional(),
  uri: z.string().min(1).superRefine(refusedBy(localPath)).describe('alias of path').optional(),
  expected_checksum: expectedChecksum,
});

export default defineStage({
  type: 'source.local',
  description: 'Read a checkpoint from a local path: pin it and read its header, never its tensor bytes',
  options,
  locations: ['path', 'uri'],
  moves: ({ expected_checksum: expected }) => expected !== undefined,
  async run(call) {
    const { path, uri } = call.options;
    const place = path ?? uri;
    if (place === undefined || (path !== undefined && uri !== undefined)) {
      throw new CheckpointConfigError('source.local needs `path`, and only one of `path` and `uri`.', `stages[${call.stage.index}].path`);
    }
    return takeSource(call, { uri: localUri(place), type: 'local', expectedChecksum: call.options.expected_checksum });
  },
});
