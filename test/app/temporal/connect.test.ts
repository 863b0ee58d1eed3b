/** What is said of a configuration that cannot be used. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { expect, test } from '@jest/globals';
import { configuredNamespace } from '../../../src/app/temporal/connect.ts';

test('of a file that is no TOML the place is told and no line, in which an API key may stand', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ckpt-toml-'));
  const file = join(folder, 'temporal.toml');
  await writeFile(file, '[profile.default]\napi_key = "hush"more\n');
  const before = process.env['TEMPORAL_CONFIG_FILE'];
  process.env['TEMPORAL_CONFIG_FILE'] = file;
  try {
    let refused: unknown;
    try {
      configuredNamespace();
    } catch (error) {
      refused = error;
    }
    expect(refused).toMatchObject({
      code: 'CheckpointConfigError',
      message: expect.stringMatching(/Invalid TOML document: .* at line 2, column \d+\. Check/),
    });
    expect(inspect(refused, { depth: 5 })).not.toContain('hush');
  } finally {
    if (before === undefined) delete process.env['TEMPORAL_CONFIG_FILE'];
    else process.env['TEMPORAL_CONFIG_FILE'] = before;
    await rm(folder, { recursive: true });
  }
});
