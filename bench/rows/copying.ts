/** Conversion against `cp`: `ckpt run` of the usual pipeline, whole process, beside a copy of as many bytes as it publishes. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { InputName } from '../inputs/recipes.ts';
import { measurement, sampleOf, type Measurement } from '../measurement.ts';
import { runProgram } from '../process.ts';
import { convert, runTimes, type Scene } from '../scene.ts';

const RUNS = 5;
/** The budget: 1.2 times the copy, and a second of orchestration. */
const SHARE = 1.2;
const ORCHESTRATION = 1000;
const RSS = 256 * 1024 * 1024;

/** Rows for the 2 GB training checkpoint. */
export const conversionRows = (scene: Scene): Promise<readonly Measurement[]> =>
  compare(scene, 'conversion', 'lightning', 'Lightning checkpoint');

/** Rows for a state dict of many small tensors. */
export const smallRows = (scene: Scene): Promise<readonly Measurement[]> => compare(scene, 'small', 'small', 'small tensors');

async function compare(scene: Scene, row: string, name: InputName, label: string): Promise<readonly Measurement[]> {
  const input = await scene.input(name);
  const reference = join(scene.scratch, `${row}.reference.safetensors`);
  // Once aside: from here on both sides find what they read in the page cache.
  const { result } = await convert(scene, input.path, reference);
  if (result.status !== 'completed') throw new Error(`the conversion ended as ${result.status}`);
  const whole: number[] = [];
  const rss: number[] = [];
  const cpu: number[] = [];
  const before: number[] = [];
  const between: number[] = [];
  const after: number[] = [];
  const publish: number[] = [];
  const copy: number[] = [];
  const copyCpu: number[] = [];
  const synced: number[] = [];
  const target = join(scene.scratch, `${row}.target.safetensors`);
  const players = [
    async () => {
      const done = await convert(scene, input.path, target);
      if (done.result.status !== 'completed') throw new Error(`the conversion ended as ${done.result.status}`);
      whole.push(done.ms);
      if (done.peakRss !== null) rss.push(done.peakRss);
      if (done.cpuMs !== null) cpu.push(done.cpuMs);
      const { started, closed, stages } = await runTimes(scene, done.result.workflow_id);
      before.push(started - done.began);
      after.push(done.began + done.ms - closed);
      between.push(closed - started - [...stages.values()].reduce((sum, ms) => sum + ms, 0));
      publish.push(stages.get('sink.publish')!);
      await rm(`${target}.manifest.json`);
    },
    async () => {
      const done = await cp(reference, target);
      copy.push(done.ms);
      if (done.cpuMs !== null) copyCpu.push(done.cpuMs);
    },
    async () => {
      const { ms } = await cp(reference, target);
      synced.push(ms + (await runProgram('sync', [target])).ms);
    },
  ];
  const runs = scene.runs ?? (scene.quick ? 1 : RUNS);
  for (let run = 0; run < runs; run++) {
    for (let turn = 0; turn < players.length; turn++) {
      // Nobody pays for what the one before has not yet written back.
      await runProgram('sync', []);
      await players[(run + turn) % players.length]!();
      await rm(target, { force: true });
    }
  }
  await rm(reference);
  const limit = SHARE * sampleOf(copy).median + ORCHESTRATION;
  return [
    measurement({
      row,
      what: `${label}: whole process`,
      unit: 'ms',
      ours: whole,
      peer: { name: 'cp of the weights', runs: copy },
      budget: { text: `${SHARE}× cp + 1 s`, limit, of: 'ours' },
    }),
    measurement({ row, what: `${label}: whole process`, unit: 'ms', ours: whole, peer: { name: 'cp and fsync', runs: synced } }),
    measurement({ row, what: `${label}: sink.publish alone`, unit: 'ms', ours: publish, peer: { name: 'cp of the weights', runs: copy } }),
    measurement({ row, what: `${label}: sink.publish alone`, unit: 'ms', ours: publish, peer: { name: 'cp and fsync', runs: synced } }),
    measurement({ row, what: `${label}: until the workflow starts`, unit: 'ms', ours: before }),
    measurement({ row, what: `${label}: in the workflow, outside its stages`, unit: 'ms', ours: between }),
    measurement({ row, what: `${label}: after the workflow has ended`, unit: 'ms', ours: after }),
    ...(cpu.length === 0
      ? []
      : [
          measurement({
            row,
            what: `${label}: CPU time of the process`,
            unit: 'ms',
            ours: cpu,
            peer: { name: 'cp of the weights', runs: copyCpu },
          }),
        ]),
    ...(rss.length === 0
      ? []
      : [
          measurement({
            row,
            what: `${label}: peak RSS of client and worker`,
            unit: 'bytes',
            ours: rss,
            budget: { text: '256 MiB', limit: RSS, of: 'ours' },
          }),
        ]),
  ];
}

/** A real copy of a file or folder: no shared extents, no holes. */
export function cp(source: string, target: string): ReturnType<typeof runProgram> {
  const linux = process.platform === 'linux' ? ['--reflink=never', '--sparse=never'] : [];
  return runProgram('cp', ['-R', ...linux, source, target]);
}
