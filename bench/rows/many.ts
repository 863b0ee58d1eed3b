/**
 * A header of 100 000 tensors through every stage, without modifiers and with those that look at every name: each stage's time by
 * the server's clock, all of them together, and with the run's report, which is not a stage; peak RSS.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { REPORT_ACTIVITY } from '../../src/pipeline/contract.ts';
import { measurement, type Measurement } from '../measurement.ts';
import { convert, runTimes, type BenchStage, type Scene } from '../scene.ts';

const RUNS = 3;
/** The budget of all stages together. */
const MOST_MS = 2000;
const MOST_RSS = 512 * 1024 * 1024;

/** Every name gets another one, a half of them is frozen, and all are kept: each modifier has all the work there is. */
export const NAME_MODIFIERS: readonly BenchStage[] = [
  { type: 'modifier.rename', rules: [{ pattern: String.raw`^blocks\.(\d+)\.`, replacement: 'model.layers.$1.' }] },
  { type: 'modifier.select', include: ['model.*'], exclude: ['*.nothing'] },
  { type: 'modifier.freezing', submodules_to_freeze: ['model.layers.1', 'model.layers'] },
];

type Many = 'many-zip' | 'many-safetensors';

export async function manyRows(scene: Scene): Promise<readonly Measurement[]> {
  return [...(await through(scene, 'many', 'many-zip', 'torch zip')), ...(await through(scene, 'many', 'many-safetensors', 'safetensors'))];
}

export async function modifierRows(scene: Scene): Promise<readonly Measurement[]> {
  return [
    ...(await through(scene, 'modifiers', 'many-zip', 'torch zip', NAME_MODIFIERS)),
    ...(await through(scene, 'modifiers', 'many-safetensors', 'safetensors', NAME_MODIFIERS)),
  ];
}

async function through(
  scene: Scene,
  row: string,
  name: Many,
  label: string,
  modifiers: readonly BenchStage[] = [],
): Promise<readonly Measurement[]> {
  const input = await scene.input(name);
  const target = join(scene.scratch, `${name}.target.safetensors`);
  const stages = new Map<string, number[]>();
  const all: number[] = [];
  const reported: number[] = [];
  const whole: number[] = [];
  const rss: number[] = [];
  for (let run = 0; run < (scene.runs ?? (scene.quick ? 1 : RUNS)); run++) {
    const done = await convert(scene, input.path, target, modifiers);
    const published = done.result.outputs[0]?.tensors;
    if (published !== input.tensors) throw new Error(`${done.result.status}: ${published} tensors published of ${input.tensors}`);
    const { stages: times } = await runTimes(scene, done.result.workflow_id);
    for (const [type, ms] of times) stages.set(type, [...(stages.get(type) ?? []), ms]);
    reported.push([...times.values()].reduce((sum, ms) => sum + ms, 0));
    all.push(reported.at(-1)! - (times.get(REPORT_ACTIVITY) ?? 0));
    whole.push(done.ms);
    if (done.peakRss !== null) rss.push(done.peakRss);
    await rm(target);
    await rm(`${target}.manifest.json`);
  }
  const what = `${input.tensors.toLocaleString('en-US')} tensors, ${label}`;
  return [
    ...[...stages].map(([type, ours]) => measurement({ row, what: `${what}: ${type}`, unit: 'ms', ours })),
    measurement({ row, what: `${what}: all stages`, unit: 'ms', ours: all, budget: { text: '2 s', limit: MOST_MS, of: 'ours' } }),
    measurement({ row, what: `${what}: all stages and the report`, unit: 'ms', ours: reported }),
    measurement({ row, what: `${what}: whole process`, unit: 'ms', ours: whole }),
    ...(rss.length === 0
      ? []
      : [
          measurement({
            row,
            what: `${what}: peak RSS of client and worker`,
            unit: 'bytes',
            ours: rss,
            budget: { text: '512 MiB', limit: MOST_RSS, of: 'ours' },
          }),
        ]),
  ];
}
