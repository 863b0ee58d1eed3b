/** The tools one would use instead, side by side: torch.load + save_file, with and without mmap, and torch.load to look inside. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { measurement, type Measurement } from '../measurement.ts';
import { runProgram, type Finished } from '../process.ts';
import { PROJECT_ROOT } from '../project.ts';
import { convert, type Scene } from '../scene.ts';

const RUNS = 3;
const SCRIPT = join(PROJECT_ROOT, 'bench', 'python', 'peer.py');

/** What is measured of a player: `work` is what Python spends without its imports. */
interface Series {
  readonly ms: number[];
  readonly rss: number[];
  readonly work: number[];
}

export function withoutPython({ python }: Scene): string | null {
  return python === null ? 'left out; set BENCH_PYTHON to a Python that has torch and safetensors' : null;
}

export async function torchRows(scene: Scene): Promise<readonly Measurement[]> {
  const input = await scene.input('lightning');
  const target = join(scene.scratch, 'torch.target.safetensors');
  const python = (...args: readonly string[]): Promise<Finished> => runProgram(scene.python!, [SCRIPT, ...args], { env: scene.env });
  const players = {
    convert: () => convert(scene, input.path, target),
    load: () => python('convert', input.path, target),
    mmap: () => python('convert', input.path, target, '--mmap'),
    inspect: () => scene.ckpt('inspect', input.path, '--json'),
    look: () => python('inspect', input.path),
    lookMmap: () => python('inspect', input.path, '--mmap'),
  } as const;
  const names = Object.keys(players) as (keyof typeof players)[];
  const series = Object.fromEntries(names.map((name) => [name, { ms: [], rss: [], work: [] }])) as unknown as Record<
    keyof typeof players,
    Series
  >;
  for (let run = -1; run < (scene.runs ?? (scene.quick ? 1 : RUNS)); run++) {
    for (const name of run % 2 === 0 ? names : names.toReversed()) {
      await runProgram('sync', []);
      const done = await players[name]();
      await rm(target, { force: true });
      await rm(`${target}.manifest.json`, { force: true });
      // The first round warms the page cache.
      if (run < 0) continue;
      series[name].ms.push(done.ms);
      if (done.peakRss !== null) series[name].rss.push(done.peakRss);
      const said = JSON.parse(done.stdout) as { readonly work?: number };
      if (said.work !== undefined) series[name].work.push(said.work * 1000);
    }
  }
  const { convert: ours, inspect } = series;
  const pair = (what: string, mine: Series, name: string, theirs: Series): readonly Measurement[] => [
    measurement({ row: 'torch', what: `${what}: whole process`, unit: 'ms', ours: mine.ms, peer: { name, runs: theirs.ms } }),
    measurement({
      row: 'torch',
      what: `${what}: whole process`,
      unit: 'ms',
      ours: mine.ms,
      peer: { name: `${name}, without imports`, runs: theirs.work },
    }),
    ...(mine.rss.length === 0
      ? []
      : [measurement({ row: 'torch', what: `${what}: peak RSS`, unit: 'bytes', ours: mine.rss, peer: { name, runs: theirs.rss } })]),
  ];
  return [
    ...pair('conversion', ours, 'torch.load + save_file', series.load),
    ...pair('conversion', ours, 'the same with mmap', series.mmap),
    ...pair('inspect', inspect, 'torch.load', series.look),
    ...pair('inspect', inspect, 'torch.load with mmap', series.lookMmap),
  ];
}
