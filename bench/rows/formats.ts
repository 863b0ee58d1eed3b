/** Every output format from the same checkpoint: `ckpt convert`, whole process, beside a copy of as many bytes as it publishes. */
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { measurement, type Measurement } from '../measurement.ts';
import { runProgram } from '../process.ts';
import type { Scene } from '../scene.ts';
import { cp } from './copying.ts';

const RUNS = 3;

/** What is published, and with which options. */
const CONVERSIONS: readonly { readonly what: string; readonly options: readonly string[] }[] = [
  { what: 'safetensors, weights', options: ['--format', 'safetensors'] },
  { what: 'safetensors, weights in shards of 200 MB', options: ['--format', 'safetensors', '--shard-size', '200MB'] },
  { what: 'state_dict, weights', options: ['--format', 'state_dict'] },
  { what: 'pytorch, with training state', options: ['--format', 'pytorch', '--training-state'] },
  { what: 'lightning, with training state', options: ['--format', 'lightning'] },
];

export async function formatRows(scene: Scene): Promise<readonly Measurement[]> {
  const { path } = await scene.input('lightning');
  await scene.server();
  const found: Measurement[] = [];
  for (const { what, options } of CONVERSIONS) {
    const ours: number[] = [];
    const copy: number[] = [];
    const rss: number[] = [];
    const folder = join(scene.scratch, 'formats');
    const reference = join(scene.scratch, 'formats.reference');
    for (let run = -1; run < (scene.runs ?? (scene.quick ? 1 : RUNS)); run++) {
      await runProgram('sync', []);
      const done = await scene.ckpt('convert', path, join(folder, 'output'), ...options, '--json');
      // The first round warms the page cache, and leaves what the peer copies.
      if (run < 0) {
        await rename(folder, reference);
        continue;
      }
      await rm(folder, { recursive: true });
      await runProgram('sync', []);
      const copied = await cp(reference, folder);
      await rm(folder, { recursive: true });
      ours.push(done.ms);
      copy.push(copied.ms);
      if (done.peakRss !== null) rss.push(done.peakRss);
    }
    await rm(reference, { recursive: true });
    found.push(
      measurement({ row: 'formats', what, unit: 'ms', ours, peer: { name: 'cp of as many bytes', runs: copy } }),
      ...(rss.length === 0 ? [] : [measurement({ row: 'formats', what: `${what}: peak RSS`, unit: 'bytes', ours: rss })]),
    );
  }
  return found;
}
