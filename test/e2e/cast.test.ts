/** `modifier.cast` to the published file, and what the run and the manifest say of values that did not fit. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { PROJECT_ROOT } from '../support/project.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-cast-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function safetensors(header: object, data: Uint8Array): Buffer {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

test('floats are cast, others stay, and what did not fit is counted', async () => {
  const values = Float32Array.of(1, -2.5, 1e6, 65504, -1e9, 0);
  const header = {
    steps: { dtype: 'I64', shape: [1], data_offsets: [0, 8] },
    weight: { dtype: 'F32', shape: [6], data_offsets: [8, 32] },
  };
  await writeFile(join(folder, 'source.safetensors'), safetensors(header, Buffer.concat([Buffer.alloc(8, 7), Buffer.from(values.buffer)])));
  const document = {
    stages: [
      { type: 'source.local', path: 'source.safetensors' },
      { type: 'loader.weights_only' },
      { type: 'modifier.cast', dtype: 'F16' },
      { type: 'sink.publish', uri: 'half.safetensors' },
    ],
  };
  await writeFile(join(folder, 'cast.json'), JSON.stringify(document));
  const env = { ...process.env, XDG_STATE_HOME: join(folder, 'state') };
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [join(PROJECT_ROOT, 'bin', 'ckpt.js'), 'run', join(folder, 'cast.json'), '--json'],
    {
      env,
    },
  );
  const result = JSON.parse(stdout) as { status: string; metadata: Record<string, unknown>; stages: { summary: string }[] };
  expect(result.status).toBe('completed');
  expect(result.metadata['num_overflowed']).toBe(2);
  expect(result.stages[3]!.summary).toContain('2 values beyond the range');
  const manifest = JSON.parse(await readFile(join(folder, 'half.safetensors.manifest.json'), 'utf8')) as Record<string, unknown>;
  expect(manifest['overflowed']).toEqual([{ name: 'weight', values: 2 }]);
  const published = await readFile(join(folder, 'half.safetensors'));
  const data = published.subarray(8 + Number(published.readBigUInt64LE(0)));
  expect(data.subarray(0, 8)).toEqual(Buffer.alloc(8, 7));
  // 1, −2.5, ∞, the largest, −∞, 0.
  expect([...new Uint16Array(data.buffer.slice(data.byteOffset + 8, data.byteOffset + 20))]).toEqual([
    0x3c00, 0xc100, 0x7c00, 0x7bff, 0xfc00, 0,
  ]);
}, 120_000);
