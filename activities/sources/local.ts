/** `source.local`: a checkpoint on a disk that the worker sees; pins it and reads its header. */
import { z } from 'zod';
import { CheckpointConfigError } from '../../src/errors.ts';
import { localPath, localUri } from '../../src/io/local/local-file.ts';
import { asShown } from '../../src/io/locations/credentials.ts';
import { schemeOf } from '../../src/model/scheme.ts';
import { refusedBy } from '../option-checks.ts';
import { defineStage } from '../stage.ts';
import { expectedChecksum, stateDictKey, takeSource } from '../take-source.ts';

/** Sources of other schemes. */
const OTHERS: Readonly<Record<string, string>> = { s3: 'source.s3', http: 'source.http', https: 'source.http' };

function checkLocal(path: string): void {
  const scheme = schemeOf(path) ?? '';
  const other = Object.hasOwn(OTHERS, scheme) ? OTHERS[scheme] : undefined;
  if (other !== undefined)
    throw new CheckpointConfigError(`${asShown(path)} is not a local path: write \`type: ${other}\`, and the URL as its \`url\`.`);
  localPath(path);
}

const options = z
  .strictObject({
    path: z.string().min(1).superRefine(refusedBy(checkLocal)).describe('absolute path or file:// URI of the checkpoint').optional(),
    uri: z.string().min(1).superRefine(refusedBy(checkLocal)).describe('alias of path').optional(),
    expected_checksum: expectedChecksum,
    state_dict_key: stateDictKey,
  })
  .superRefine(({ path, uri }, context) => {
    // A misspelt one is told alone.
    if (context.issues.length > 0 || (path === undefined) !== (uri === undefined)) return;
    context.addIssue({ code: 'custom', message: 'source.local needs `path`, and only one of `path` and `uri`', path: ['path'] });
  });

export default defineStage({
  type: 'source.local',
  description: 'Read a checkpoint from a local path: pin it and read its header, never its tensor bytes',
  options,
  locations: ['path', 'uri'],
  moves: ({ expected_checksum: expected }) => expected !== undefined,
  async run(call) {
    const { path, uri, expected_checksum: expected, state_dict_key: key } = call.options;
    // One of them is there.
    return takeSource(call, { uri: localUri((path ?? uri)!), type: 'local', expectedChecksum: expected, stateDictKey: key });
  },
});
