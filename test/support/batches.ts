/** Batches of tiny checkpoints in a folder, on a server that knows their priorities. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { registerAttributes } from '../../src/app/temporal/search-attributes.ts';
import type { BatchInput, BatchResult, Outcome } from '../../src/pipeline/batch.ts';
import { devServer } from './temporal.ts';
import { tinySafetensors } from './tiny-safetensors.ts';

export async function batchServer(): Promise<TestWorkflowEnvironment> {
  // As the embedded server has it: else priorities hold for a quarter of the queue each.
  const one = ['Read', 'Write'].map((kind) => `matching.numTaskqueue${kind}Partitions=1`);
  const environment = await devServer({ settings: [...one, 'matching.enableFairness=true'] });
  await registerAttributes(environment.connection, 'default');
  return environment;
}

/** So many checkpoints below `in`, those of even numbers in `sub`; broken ones are cut. */
export async function writeItems(folder: string, count: number, broken: readonly number[] = []): Promise<void> {
  await mkdir(join(folder, 'in', 'sub'), { recursive: true });
  for (let index = 0; index < count; index++)
    await writeFile(
      join(folder, 'in', index % 2 === 0 ? 'sub' : '', `model-${index}.safetensors`),
      broken.includes(index) ? tinySafetensors(index).subarray(0, 40) : tinySafetensors(index),
    );
}

/** Of all that is below `in`, to `out`. */
export function batchIn(folder: string, more: Partial<BatchInput> = {}): BatchInput {
  return {
    items: { uri: join(folder, 'in'), glob: '**/*.safetensors' },
    pipeline: {
      stages: [
        { type: 'source.local', path: '${item.uri}' },
        { type: 'loader.weights_only' },
        { type: 'sink.publish', uri: join(folder, 'out', '${item.dir}/${item.stem}.safetensors') },
      ],
    },
    continue_on_error: true,
    ...more,
  };
}

export async function outcomesOf(result: BatchResult): Promise<readonly Outcome[]> {
  const text = await readFile(fileURLToPath(result.results!), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Outcome);
}
