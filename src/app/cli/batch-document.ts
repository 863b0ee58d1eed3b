/** A batch document from a file: items and the template of their pipelines, its places made absolute from the folder of the document. */
import { join } from 'node:path';
import { isCheckpointError, type CheckpointError } from '../../errors.ts';
import { refuseCredential } from '../../io/locations/credentials.ts';
import { isMapping } from '../../model/json.ts';
import { aboutOthers, pathOf, throwTogether, type Tell } from '../../pipeline/all-problems.ts';
import { batchProblems, checkBatch } from '../../pipeline/batch-document.ts';
import { BATCH_KEYS, type BatchInput, type BatchItems } from '../../pipeline/batch.ts';
import type { PipelineInput, StageSpec } from '../../pipeline/contract.ts';
import { ofAnotherKind } from '../../pipeline/document-kinds.ts';
import { movedTo } from '../../pipeline/moved-errors.ts';
import { checkInput, folderOf, notingUnused, valuesFor, type DocumentSettings } from './document.ts';
import { interpolateSettings } from './interpolate.ts';
import { absoluteLocation } from './paths.ts';
import { readPlaced } from './placed-file.ts';

export async function readBatch(file: string, settings: DocumentSettings): Promise<BatchInput> {
  return readPlaced(file, 'batch', (given, { folder, written }) => checkBatchInput(given, folder, { ...settings, written }));
}

/** A document that is read already; relative locations count from `folder`. */
export async function checkBatchInput(given: unknown, folder: string, settings: DocumentSettings): Promise<BatchInput> {
  return notingUnused(settings, (noted) => inputOf(given, folder, noted));
}

/** Settings that are text; others may be numbers and booleans. */
const TEXTS = ['name', 'items', 'results'];

async function inputOf(given: unknown, folder: string, settings: DocumentSettings): Promise<BatchInput> {
  if (!isMapping(given) || ofAnotherKind(given, BATCH_KEYS, 'batch') !== undefined) return checkBatch(given);
  const problems: CheckpointError[] = [];
  const tell: Tell = (error) => problems.push(error);
  const { pipeline: written, ...own } = given;
  const resolved = interpolateSettings(own, valuesFor(given, settings, tell), TEXTS);
  // In any form that a pipeline of its own may have.
  const pipeline =
    'pipeline' in given ? await templateOf(written, folder, settings).catch((error: unknown) => toldTo(tell, error)) : undefined;
  const understood = { ...resolved, ...(pipeline === undefined ? {} : { pipeline }) };
  throwTogether([...problems, ...aboutOthers(batchProblems(understood), problems.map(pathOf))]);
  const batch = checkBatch(understood);
  const place = (location: string, how: unknown): string => absoluteLocation(location, folderOf(how, given, folder));
  for (const location of locationsIn(batch.items)) refuseCredential(location, 'items');
  refuseCredential(batch.results, 'results');
  return {
    ...batch,
    items: placedItems(batch.items, own['items'], place),
    ...(batch.results === undefined ? {} : { results: place(batch.results, own['results']) }),
  };
}

function toldTo(tell: Tell, error: unknown): undefined {
  if (!isCheckpointError(error)) throw error;
  tell(error);
}

async function templateOf(given: unknown, folder: string, settings: DocumentSettings): Promise<PipelineInput> {
  try {
    // What the item fills in later stands as it is until then.
    const pipeline = await checkInput(escaped(given), folder, {
      ...settings,
      written: (path) => settings.written?.(`pipeline.${path}`) ?? {},
    });
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

/** `how`: as the document has them. */
function placedItems(items: BatchItems, how: unknown, place: (location: string, how: unknown) => string): BatchItems {
  const under = (value: unknown, key: string | number): unknown =>
    typeof value === 'object' && value !== null ? (value as Record<string | number, unknown>)[key] : value;
  if ('manifest' in items) return { manifest: place(items.manifest, under(how, 'manifest')) };
  if ('failed_in' in items) return { failed_in: place(items.failed_in, under(how, 'failed_in')) };
  if ('uri' in items) return { ...items, uri: place(items.uri, under(how, 'uri')) };
  return items.map((item, index) => {
    const each = under(how, index);
    return typeof item === 'string' ? place(item, each) : { ...item, uri: place(String(item['uri']), under(each, 'uri')) };
  });
}

function locationsIn(items: BatchItems): readonly string[] {
  if ('manifest' in items) return [items.manifest];
  if ('failed_in' in items) return [items.failed_in];
  return 'uri' in items ? [items.uri] : items.map((item) => (typeof item === 'string' ? item : String(item['uri'])));
}

function escaped(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('${item.', () => '$${item.');
  if (Array.isArray(value)) return value.map(escaped);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, escaped(each)]));
}
