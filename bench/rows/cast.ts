/** What a cast costs: the big checkpoint's weights to a smaller dtype, beside the same pipeline without the cast, and beside `cp`. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { measurement, type Measurement } from '../measurement.ts';
import { runProgram } from '../process.ts';
import { convert, runTimes, type BenchStage, type Scene } from '../scene.ts';
import { cp } from './copying.ts';

const RUNS = 3;
/** The budget: as many times the same pipeline without the cast. */
const SHARE = 1.5;
export const CASTS = ['BF16', 'F16'] as const;

interface Played {
  readonly whole: number[];
  readonly publish: number[];
  readonly rss: number[];
}

export function castStage(dtype: (typeof CASTS)[number]): BenchStage {
  return { type: 'modifier.cast', dtype };
}

export async function castRows(scene: Scene): Promise<readonly Measurement[]> {
  const input = await scene.input('lightning');
  const target = join(scene.scratch, 'cast.safetensors');
  const reference = join(scene.scratch, 'cast.reference.safetensors');
  // Once aside: from here on everybody finds what they read in the page cache.
  await convert(scene, input.path, reference);
  const fresh = (): Played => ({ whole: [], publish: [], rss: [] });
  const plain = fresh();
  const casts = new Map(CASTS.map((dtype) => [dtype, fresh()]));
  const copy: number[] = [];
  const play = async ({ whole, publish, rss }: Played, modifiers: readonly BenchStage[]): Promise<void> => {
    const done = await convert(scene, input.path, target, modifiers);
    if (done.result.status !== 'completed') throw new Error(`the conversion ended as ${done.result.status}`);
    whole.push(done.ms);
    publish.push((await runTimes(scene, done.result.workflow_id)).stages.get('sink.publish')!);
    if (done.peakRss !== null) rss.push(done.peakRss);
    await rm(`${target}.manifest.json`);
  };
  const players = [
    () => play(plain, []),
    ...CASTS.map((dtype) => () => play(casts.get(dtype)!, [castStage(dtype)])),
    async () => void copy.push((await cp(reference, target)).ms),
  ];
  for (let run = 0; run < (scene.runs ?? (scene.quick ? 1 : RUNS)); run++) {
    for (let turn = 0; turn < players.length; turn++) {
      await runProgram('sync', []);
      await players[(run + turn) % players.length]!();
      await rm(target, { force: true });
    }
  }
  await rm(reference);
  await rm(`${reference}.manifest.json`);
  const row = 'cast';
  const budget = { text: `${SHARE}×`, limit: SHARE, of: 'ratio' } as const;
  const name = 'the same without a cast';
  return [...casts].flatMap(([dtype, { whole, publish, rss }]) => [
    measurement({ row, what: `F32 → ${dtype}: whole process`, unit: 'ms', ours: whole, peer: { name, runs: plain.whole }, budget }),
    measurement({
      row,
      what: `F32 → ${dtype}: sink.publish alone`,
      unit: 'ms',
      ours: publish,
      peer: { name, runs: plain.publish },
      budget,
    }),
    measurement({
      row,
      what: `F32 → ${dtype}: sink.publish alone`,
      unit: 'ms',
      ours: publish,
      peer: { name: 'cp of the weights as they are', runs: copy },
    }),
    ...(rss.length === 0 ? [] : [measurement({ row, what: `F32 → ${dtype}: peak RSS of client and worker`, unit: 'bytes', ours: rss })]),
  ]);
}
