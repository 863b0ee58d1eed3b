/** `source.http`: a file on a web server; pins its version and reads its header by ranges where the server has them. */
import { z } from 'zod';
import { CheckpointConfigError } from '../../src/errors.ts';
import { checkUrl } from '../../src/io/locations/credentials.ts';
import { refusedBy } from '../option-checks.ts';
import { defineStage } from '../stage.ts';
import { expectedChecksum, stateDictKey, takeSource } from '../take-source.ts';

const options = z.strictObject({
  url: z
    .string()
    // Before it is sent anywhere: a URL with a credential must not get into a run's history.
    .superRefine(refusedBy(checkHttpUrl))
    .describe('http:// or https:// URL of the checkpoint, without credentials'),
  expected_checksum: expectedChecksum,
  state_dict_key: stateDictKey,
});

export default defineStage({
  type: 'source.http',
  description: 'Read a checkpoint from a web server: by ranges, or by way of the cache where the server has none',
  options,
  moves: ({ expected_checksum: expected }) => expected !== undefined,
  async run(call) {
    const { url, expected_checksum: expected, state_dict_key: key } = call.options;
    return takeSource(call, { uri: url, type: 'http', expectedChecksum: expected, stateDictKey: key });
  },
});

function checkHttpUrl(url: string): void {
  // The standard's own reader takes the first part of the path for a host that is not there.
  if (/^https?:\/\/\//i.test(url)) throw new CheckpointConfigError('An http:// or https:// URL has a host.');
  checkUrl(url);
}
