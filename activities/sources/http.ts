/** `source.http`: a file on a web server; pins its version and reads its header by ranges where the server has them. */
import { z } from 'zod';
import { CheckpointConfigError } from '../../src/errors.ts';
import { isHttp } from '../../src/io/http/url.ts';
import { defineStage } from '../stage.ts';
import { expectedChecksum, takeSource } from '../take-source.ts';

const options = z.strictObject({
  url: z.string().min(1).describe('http:// or https:// URL of the checkpoint, without credentials'),
  expected_checksum: expectedChecksum,
});

export default defineStage({
  type: 'source.http',
  description: 'Read a checkpoint from a web server: by ranges, or by way of the cache where the server has none',
  options,
  async run(call) {
    const { url, expected_checksum: expected } = call.options;
    if (!isHttp(url))
      throw new CheckpointConfigError('source.http: `url` is no http:// or https:// URL.', `stages[${call.stage.index}].url`);
    return takeSource(call, { uri: url, type: 'http', expectedChecksum: expected });
  },
});
