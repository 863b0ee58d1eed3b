/**
 * Batches of tiny checkpoints, beside a window of children that do as many activities of nothing, on the same server, each with a
 * worker of its own that is up before: time for an item, events for an item from a hundred to thousands, memory of the worker, and
 * what further workers bring.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BATCH_WORKFLOW, type BatchInput, type BatchResult } from '../../src/pipeline/batch.ts';
import { TASK_QUEUE } from '../../src/pipeline/contract.ts';
import { measurement, type Measurement } from '../measurement.ts';
import { startProgram, watchMemory, type StartedProgram } from '../process.ts';
import { CKPT, PROJECT_ROOT } from '../project.ts';
import { conversion, type Scene } from '../scene.ts';

const RUNS = 3;
const WINDOW = 16;
/** Of the pipeline. */
const STAGES = 3;
const NOOP_QUEUE = 'bench-noop-batch';
const NOOP_WORKER = join(PROJECT_ROOT, 'dist', 'bench', 'noop', 'worker.js');
/** Items of a timed batch, of the smallest and of the largest, and of each for different numbers of workers. */
const FULL = { timed: 200, few: 100, many: Number(process.env['BENCH_BATCH_ITEMS'] ?? 2000), shared: 200 };
const QUICK = { timed: 6, few: 4, many: 8, shared: 6 };
const WORKERS = [1, 2, 4];
/** The budget: 80 % of the rate, so 1.25 times the time; a quarter more memory and a twentieth more events count as the same. */
const MOST_TIME = 1.25;
const MOST_MEMORY = 1.25;
const MOST_EVENTS = 1.05;

export async function batchRows(scene: Scene): Promise<readonly Measurement[]> {
  const sizes = scene.quick ? QUICK : FULL;
  await scene.server();
  // The dev server's own work for a run grows with what lies in its store, so what is timed comes first.
  return [...(await rates(scene, sizes.timed)), ...(await sharing(scene, sizes.shared)), ...(await growth(scene, sizes.few, sizes.many))];
}

/** Ours and the peer's take turns. */
async function rates(scene: Scene, items: number): Promise<readonly Measurement[]> {
  const { address, client } = await scene.server();
  const input = await batchOver(scene, items);
  const worker = await startWorker(scene);
  const noopWorker = await startProgram([NOOP_WORKER, address, NOOP_QUEUE], /^ready$/m, { env: scene.env });
  const noop = async (id: string): Promise<number> => {
    const began = performance.now();
    await client.workflow.execute('noopBatch', { taskQueue: NOOP_QUEUE, workflowId: id, args: [items, WINDOW, STAGES] });
    return (performance.now() - began) / items;
  };
  try {
    const fresh: number[] = [];
    const unchanged: number[] = [];
    const peer: number[] = [];
    const runs = scene.runs ?? (scene.quick ? 1 : RUNS);
    // The first of each warms up.
    for (let run = scene.quick ? 0 : -1; run < runs; run++) {
      await rm(join(scene.scratch, 'batch-out'), { recursive: true, force: true });
      const players = [
        async () => {
          const first = await timed(scene, `batch-${run}`, input, 'completed');
          const second = await timed(scene, `batch-again-${run}`, input, 'unchanged');
          if (run >= 0) void (fresh.push(first), unchanged.push(second));
        },
        async () => {
          const ms = await noop(`noop-batch-${run}`);
          if (run >= 0) peer.push(ms);
        },
      ];
      for (const play of run % 2 === 0 ? players : players.toReversed()) await play();
    }
    const row = 'batch';
    const beside = { name: 'child of as many no-op activities', runs: peer };
    const budget = { text: `${MOST_TIME}× (80 % of the rate)`, limit: MOST_TIME, of: 'ratio' } as const;
    return [
      measurement({ row, what: `an item of ${items}, published`, unit: 'ms', ours: fresh, peer: beside, budget }),
      measurement({ row, what: `an item of ${items}, unchanged`, unit: 'ms', ours: unchanged, peer: beside }),
    ];
  } finally {
    await Promise.all([worker.stop(), noopWorker.stop()]);
  }
}

/** What must not grow with the number of items. */
async function growth(scene: Scene, few: number, many: number): Promise<readonly Measurement[]> {
  const worker = await startWorker(scene);
  const memory = watchMemory(worker.pid);
  try {
    const events: number[] = [];
    const rss: (number | null)[] = [];
    for (const items of [few, many]) {
      await rm(join(scene.scratch, 'batch-out'), { recursive: true, force: true });
      await timed(scene, `batch-of-${items}`, await batchOver(scene, items), 'completed');
      events.push((await eventsOf(scene, `batch-of-${items}`)) / items);
      rss.push(memory.peakRss());
    }
    const row = 'batch';
    const [eventsFew, eventsMany] = events as [number, number];
    const [rssFew, rssMany] = rss as [number | null, number | null];
    const same = (limit: number) => ({ text: `${limit}×`, limit, of: 'ratio' }) as const;
    return [
      measurement({
        row,
        what: `events of the batch for an item of ${many}`,
        unit: 'count',
        ours: [eventsMany],
        peer: { name: `for an item of ${few}`, runs: [eventsFew] },
        budget: same(MOST_EVENTS),
      }),
      ...(rssFew === null || rssMany === null
        ? []
        : [
            measurement({
              row,
              what: `peak RSS of the worker after ${few + many} items`,
              unit: 'bytes',
              ours: [rssMany],
              peer: { name: `after ${few} items`, runs: [rssFew] },
              budget: same(MOST_MEMORY),
            }),
          ]),
    ];
  } finally {
    memory.stop();
    await worker.stop();
  }
}

async function sharing(scene: Scene, items: number): Promise<readonly Measurement[]> {
  const input = await batchOver(scene, items);
  const found: Measurement[] = [];
  for (const count of WORKERS) {
    const workers = await Promise.all(Array.from({ length: count }, () => startWorker(scene)));
    try {
      await rm(join(scene.scratch, 'batch-out'), { recursive: true, force: true });
      const ours = [await timed(scene, `batch-by-${count}`, input, 'completed')];
      found.push(measurement({ row: 'batch', what: `an item of ${items}, ${count} worker processes`, unit: 'ms', ours }));
    } finally {
      await Promise.all(workers.map((worker) => worker.stop()));
    }
  }
  return found;
}

function startWorker(scene: Scene): Promise<StartedProgram> {
  return startProgram([...CKPT, 'worker'], /^Worker polls/m, { env: scene.env });
}

/** Milliseconds for an item. */
async function timed(scene: Scene, workflowId: string, input: BatchInput, expected: 'completed' | 'unchanged'): Promise<number> {
  const { client } = await scene.server();
  const began = performance.now();
  const result = (await client.workflow.execute(BATCH_WORKFLOW, { taskQueue: TASK_QUEUE, workflowId, args: [input] })) as BatchResult;
  if (result[expected] !== result.total || result.total === 0)
    throw new Error(`${result[expected]} of ${result.total} items ended as ${expected}; ${JSON.stringify(result.failures_by_code)}`);
  return (performance.now() - began) / result.total;
}

/** Of all runs of a batch; its children's are those of a pipeline. */
async function eventsOf(scene: Scene, workflowId: string): Promise<number> {
  const { client } = await scene.server();
  let events = 0;
  for (
    let runId: string | undefined =
      (await client.workflow.getHandle(workflowId).describe()).raw.workflowExecutionInfo?.firstRunId ?? undefined;
    runId;
  ) {
    const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
    events += history.events?.length ?? 0;
    runId = history.events?.at(-1)?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId ?? undefined;
  }
  return events;
}

/** Checkpoints of sixteen bytes of weights. */
async function batchOver(scene: Scene, items: number): Promise<BatchInput> {
  const folder = join(scene.scratch, `batch-in-${items}`);
  await mkdir(folder, { recursive: true });
  const header = Buffer.from(JSON.stringify({ weight: { dtype: 'F32', shape: [4], data_offsets: [0, 16] } }));
  const bytes = Buffer.alloc(8 + header.length + 16);
  bytes.writeBigUInt64LE(BigInt(header.length));
  header.copy(bytes, 8);
  for (let index = 0; index < items; index++) {
    bytes.writeFloatLE(index, 8 + header.length);
    await writeFile(join(folder, `${String(index).padStart(5, '0')}.safetensors`), bytes);
  }
  return {
    items: { uri: folder },
    pipeline: conversion('${item.uri}', join(scene.scratch, 'batch-out', '${item.key}')),
    max_concurrent: WINDOW,
  };
}
