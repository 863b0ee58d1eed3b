/** Batches whose items take many kilobytes each: pages hold few of them, and runs end where pages do. */
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { BatchResult } from '../../src/pipeline/batch.ts';
import { batchSuite, outcomesOf } from '../support/batches.ts';

const LONG = 240_000;

const suite = batchSuite();
const { items, batch, start } = suite;

test(
  'runs that end where a page ends; keys of any script and length; rows of many kilobytes',
  async () => {
    await items(40);
    const key = (index: number): string => `${index}/${'模型😀'.repeat(300)}/ü ${index}`;
    const rows = Array.from({ length: 40 }, (_, index) => ({
      uri: join(suite.folder, 'in', index % 2 === 0 ? 'sub' : '', `model-${index}.safetensors`),
      key: key(index),
      note: 'x'.repeat(10_000),
      n: `${index}`,
    }));
    const worker = await suite.worker();
    await worker.runUntil(async () => {
      const stages = batch().pipeline.stages.map((stage) =>
        stage.type === 'sink.publish' ? { ...stage, uri: join(suite.folder, 'out', '${item.n}.safetensors') } : stage,
      );
      // Such rows come to some twenty in a page.
      for (const after of [19, 20, 21, 22]) {
        const handle = await start(batch({ items: rows, pipeline: { stages }, max_concurrent: 8, continue_after: after }));
        const result = (await handle.result()) as BatchResult;
        expect(result).toMatchObject({ status: 'completed', total: 40, failed: 0 });
        expect(result.completed + result.unchanged).toBe(40);
        expect((await outcomesOf(result)).map(({ item }) => item)).toEqual(rows.map((row) => row.key));
      }
    });
  },
  LONG,
);
