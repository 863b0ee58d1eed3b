/** `ckpt inspect` of the 2 GB checkpoint: time of the whole process, requests and bytes; its peer must read all of it. */
import { measurement, type Measurement } from '../measurement.ts';
import type { Scene } from '../scene.ts';

const RUNS = 9;
/** The budget, for a file on a local disk. */
const MOST_MS = 150;
const MOST_REQUESTS = 4;
const MOST_BYTES = 1024 * 1024;

interface Inspected {
  readonly tensors: readonly unknown[];
  readonly requests: { readonly count: number; readonly bytes: number };
}

export async function inspectRows(scene: Scene): Promise<readonly Measurement[]> {
  const input = await scene.input('lightning');
  const times: number[] = [];
  const node: number[] = [];
  const rss: number[] = [];
  let last: Inspected | undefined;
  await inspect(scene, input.path);
  for (let run = 0; run < (scene.runs ?? (scene.quick ? 1 : RUNS)); run++) {
    const done = await inspect(scene, input.path);
    times.push(done.ms);
    if (done.peakRss !== null) rss.push(done.peakRss);
    node.push((await scene.node('-e', '0')).ms);
    last = done.report;
  }
  if (last?.tensors.length !== input.tensors) throw new Error(`inspect found ${last?.tensors.length} tensors of ${input.tensors}`);
  const row = 'inspect';
  const { count, bytes } = last.requests;
  return [
    measurement({
      row,
      what: 'Lightning checkpoint: whole process',
      unit: 'ms',
      ours: times,
      peer: { name: 'node -e 0', runs: node },
      budget: { text: '150 ms', limit: MOST_MS, of: 'ours' },
    }),
    measurement({
      row,
      what: 'Lightning checkpoint: range reads',
      unit: 'count',
      ours: [count],
      budget: { text: '4', limit: MOST_REQUESTS, of: 'ours' },
    }),
    measurement({
      row,
      what: 'Lightning checkpoint: bytes read',
      unit: 'bytes',
      ours: [bytes],
      budget: { text: '1 MiB', limit: MOST_BYTES, of: 'ours' },
    }),
    ...(rss.length === 0 ? [] : [measurement({ row, what: 'Lightning checkpoint: peak RSS', unit: 'bytes', ours: rss })]),
  ];
}

async function inspect(scene: Scene, path: string) {
  const done = await scene.ckpt('inspect', path, '--json');
  return { ...done, report: JSON.parse(done.stdout) as Inspected };
}
