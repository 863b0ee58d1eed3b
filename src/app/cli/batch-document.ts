/** A batch document from a file: items and the template of their pipelines, its places made absolute from the folder of the document. */
import { join } from 'node:path';
import { isCheckpointError } from '../../errors.ts';
import { refuseCredential } from '../../io/locations/credentials.ts';
import { isMapping } from '../../model/json.ts';
import { checkBatch } from '../../pipeline/batch-document.ts';
import type { BatchInput, BatchItems } from '../../pipeline/batch.ts';
import type { PipelineInput, StageSpec } from '../../pipeline/contract.ts';
import { movedTo } from '../../pipeline/moved-errors.ts';
import { checkInput, type DocumentSettings } from './document.ts';
import { absoluteLocation } from './paths.ts';
import { readPlaced } from './placed-file.ts';

export async function readBatch(file: string, settings: DocumentSettings): Promise<BatchInput> {
  return readPlaced(file, 'batch', async (given, folder) => {
    // The pipeline in any form that one of its own may have; what is not a mapping is for the check to refuse.
    const understood = isBatch(given) ? { ...given, pipeline: await template(given.pipeline, folder, settings) } : given;
    const batch = checkBatch(understood);
    const place = (location: string): string => {
      refuseCredential(location, 'items');
      return absoluteLocation(location, folder);
    };
    return { ...batch, items: placed(batch.items, place), ...(batch.results === undefined ? {} : { results: place(batch.results) }) };
  });
}

function isBatch(given: unknown): given is { readonly pipeline: unknown } {
  return isMapping(given) && 'pipeline' in given;
}

async function template(given: unknown, folder: string, settings: DocumentSettings): Promise<PipelineInput> {
  try {
    // What the item fills in later stands as it is until then.
    const pipeline = await checkInput(escaped(given), folder, settings);
    // A location that begins with the item's is where the item is, not beside the document.
    const besideDocument = join(folder, '${item.');
    const stages = pipeline.stages.map(
      (stage) =>
        Object.fromEntries(
          Object.entries(stage).map(([key, value]) => [
            key,
            typeof value === 'string' && value.startsWith(besideDocument) ? value.slice(besideDocument.indexOf('${item.')) : value,
          ]),
        ) as StageSpec,
    );
    return { ...pipeline, stages };
  } catch (error) {
    throw isCheckpointError(error) ? movedTo(error, (path) => `pipeline.${path}`) : error;
  }
}

function placed(items: BatchItems, place: (location: string) => string): BatchItems {
  if ('manifest' in items) return { manifest: place(items.manifest) };
  if ('failed_in' in items) return { failed_in: place(items.failed_in) };
  if ('uri' in items) return { ...items, uri: place(items.uri) };
  return items.map((item) => (typeof item === 'string' ? place(item) : { ...item, uri: place(String(item['uri'])) }));
}

function escaped(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('${item.', () => '$${item.');
  if (Array.isArray(value)) return value.map(escaped);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, escaped(each)]));
}
