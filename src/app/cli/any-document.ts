/** A document of any kind, told by its keys. */
import { isMapping } from '../../model/json.ts';
import type { BatchInput } from '../../pipeline/batch.ts';
import type { PipelineInput } from '../../pipeline/contract.ts';
import { documentKind } from '../../pipeline/document-kinds.ts';
import { checkBatchInput } from './batch-document.ts';
import { checkInput, type DocumentSettings } from './document.ts';
import { readPlaced } from './placed-file.ts';
import { checkScheduleInput } from './schedule-document.ts';

export type AnyDocument =
  | { readonly kind: 'pipeline'; readonly pipeline: PipelineInput }
  | { readonly kind: 'batch'; readonly batch: BatchInput }
  | { readonly kind: 'schedule'; readonly id: string; readonly pipeline?: PipelineInput; readonly batch?: BatchInput };

/** Read and checked as the command is that would run it. */
export async function readAny(file: string, settings: DocumentSettings): Promise<AnyDocument> {
  return readPlaced(file, 'pipeline, batch or schedule', async (given, { folder, written }): Promise<AnyDocument> => {
    // Of a batch whose `items` are misspelt, the template tells.
    const kind = documentKind(given) ?? (isMapping(given) && isMapping(given['pipeline']) ? 'batch' : 'pipeline');
    if (kind === 'batch') return { kind, batch: await checkBatchInput(given, folder, { ...settings, written }) };
    if (kind === 'pipeline') return { kind, pipeline: await checkInput(given, folder, { ...settings, written }) };
    const { id, input } = await checkScheduleInput(given, folder, settings);
    return { kind, id, ...(input.batch === undefined ? { pipeline: input.pipeline } : { batch: input.batch }) };
  });
}
