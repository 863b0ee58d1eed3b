/** `ckpt scan` of the 2 GB checkpoint beside `picklescan` and `modelscan`, where `BENCH_PYTHON` has them. */
import { measurement, type Measurement } from '../measurement.ts';
import { runProgram, type Finished } from '../process.ts';
import type { Scene } from '../scene.ts';

const RUNS = 5;

interface Series {
  readonly ms: number[];
  readonly rss: number[];
}

export async function scanRows(scene: Scene): Promise<readonly Measurement[]> {
  const { path } = await scene.input('lightning');
  const scanners = new Map<string, () => Promise<Finished>>([['ours', () => scene.ckpt('scan', path, '--json')]]);
  for (const [name, ...args] of [
    ['picklescan', '--path'],
    ['modelscan', 'scan', '-p'],
  ] as const) {
    if (scene.python === null || !(await has(scene.python, name))) scene.say(`scan: no ${name} in BENCH_PYTHON; its rows are left out`);
    else scanners.set(name, () => runProgram(scene.python!, ['-m', `${name}${name === 'modelscan' ? '.cli' : ''}`, ...args, path]));
  }
  const series = new Map<string, Series>([...scanners.keys()].map((name) => [name, { ms: [], rss: [] }]));
  for (let run = -1; run < (scene.runs ?? (scene.quick ? 1 : RUNS)); run++) {
    for (const [name, scan] of scanners) {
      const done = await scan();
      if (run < 0) continue;
      series.get(name)!.ms.push(done.ms);
      if (done.peakRss !== null) series.get(name)!.rss.push(done.peakRss);
    }
  }
  const ours = series.get('ours')!;
  const peers = [...series].filter(([name]) => name !== 'ours');
  const row = 'scan';
  const what = 'Lightning checkpoint';
  if (peers.length === 0)
    return [
      measurement({ row, what: `${what}: whole process`, unit: 'ms', ours: ours.ms }),
      ...(ours.rss.length === 0 ? [] : [measurement({ row, what: `${what}: peak RSS`, unit: 'bytes', ours: ours.rss })]),
    ];
  return peers.flatMap(([name, { ms, rss }]) => [
    measurement({ row, what: `${what}: whole process`, unit: 'ms', ours: ours.ms, peer: { name, runs: ms } }),
    ...(rss.length === 0
      ? []
      : [measurement({ row, what: `${what}: peak RSS`, unit: 'bytes', ours: ours.rss, peer: { name, runs: rss } })]),
  ]);
}

async function has(python: string, module: string): Promise<boolean> {
  return runProgram(python, ['-c', `import ${module}`]).then(
    () => true,
    () => false,
  );
}
