/**
 * What the pipeline costs beyond Temporal itself: the usual three stages over a tiny checkpoint, beside a workflow of as many
 * activities that do nothing (one for each stage, and a local one as the preflight is), on the same server, each with a worker of its own that is up before.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PIPELINE_WORKFLOW, TASK_QUEUE, type PipelineResult } from '../../src/pipeline/contract.ts';
import { measurement, type Measurement } from '../measurement.ts';
import { startProgram, watchMemory } from '../process.ts';
import { CKPT, PROJECT_ROOT } from '../project.ts';
import { conversion, runTimes, type Scene } from '../scene.ts';

const RUNS = 40;
/** Runs of each kind before the first that counts: workers and server warm up. */
const WARM_UP = 5;
const NOOP_QUEUE = 'bench-noop';
const NOOP_WORKER = join(PROJECT_ROOT, 'dist', 'bench', 'noop', 'worker.js');
/** The budget: as many times the workflow that does nothing. */
const SHARE = 1.3;

export async function orchestrationRows(scene: Scene): Promise<readonly Measurement[]> {
  const input = await scene.input('tiny');
  const { address, client } = await scene.server();
  const worker = await startProgram([...CKPT, 'worker'], /^Worker polls/m, { env: scene.env });
  const noopWorker = await startProgram([NOOP_WORKER, address, NOOP_QUEUE], /^ready$/m, { env: scene.env });
  const memory = watchMemory(worker.pid);
  const target = join(scene.scratch, 'tiny.safetensors');
  const document = conversion(input.path, target);
  const pipeline = async (status: PipelineResult['status'], id: string): Promise<number> => {
    const began = performance.now();
    const result = (await client.workflow.execute(PIPELINE_WORKFLOW, {
      taskQueue: TASK_QUEUE,
      workflowId: id,
      args: [document],
    })) as PipelineResult;
    if (result.status !== status) throw new Error(`the pipeline ended as ${result.status}, expected ${status}`);
    return performance.now() - began;
  };
  const noop = async (id: string): Promise<number> => {
    const began = performance.now();
    await client.workflow.execute('noopPipeline', { taskQueue: NOOP_QUEUE, workflowId: id, args: [document.stages.length] });
    return performance.now() - began;
  };
  try {
    const fresh: number[] = [];
    const unchanged: number[] = [];
    const peer: number[] = [];
    const runs = scene.runs ?? (scene.quick ? 1 : RUNS);
    for (let run = scene.quick ? -1 : -WARM_UP; run < runs; run++) {
      await rm(target, { force: true });
      const players = [
        async () => {
          // A run that publishes, then one that finds everything in place.
          const first = await pipeline('completed', `fresh-${run}`);
          const second = await pipeline('unchanged', `unchanged-${run}`);
          if (run >= 0) void (fresh.push(first), unchanged.push(second));
        },
        async () => {
          const ms = await noop(`noop-${run}`);
          if (run >= 0) peer.push(ms);
        },
      ];
      for (const play of run % 2 === 0 ? players : players.toReversed()) await play();
    }
    const stages = new Map<string, number[]>();
    for (let run = 0; run < runs; run++) {
      const times = await runTimes(scene, `fresh-${run}`);
      for (const [type, ms] of times.stages) stages.set(type, [...(stages.get(type) ?? []), ms]);
    }
    const row = 'orchestration';
    const name = 'as many no-op activities';
    const budget = { text: `${SHARE}×`, limit: SHARE, of: 'ratio' } as const;
    const rss = memory.peakRss();
    return [
      measurement({ row, what: 'tiny checkpoint, published', unit: 'ms', ours: fresh, peer: { name, runs: peer }, budget }),
      measurement({ row, what: 'tiny checkpoint, unchanged', unit: 'ms', ours: unchanged, peer: { name, runs: peer } }),
      ...[...stages].map(([type, ours]) => measurement({ row, what: `tiny checkpoint, published: ${type}`, unit: 'ms', ours })),
      ...(rss === null ? [] : [measurement({ row, what: 'peak RSS of the worker', unit: 'bytes', ours: [rss] })]),
    ];
  } finally {
    memory.stop();
    await Promise.all([worker.stop(), noopWorker.stop()]);
  }
}
