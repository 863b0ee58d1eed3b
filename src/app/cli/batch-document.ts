/** A batch document from a file: items and the template of their pipelines, its places made absolute from the folder of the document. */
import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, resolve } from 'node:path';
import { parse } from 'yaml';
import { CheckpointConfigError } from '../../errors.ts';
import { checkBatch, type BatchInput, type BatchItems } from '../../pipeline/batch.ts';
import type { StageSpec } from '../../pipeline/contract.ts';
import { checkInput, refuseCredential, type DocumentSettings } from './document.ts';
import { callerFolder } from './paths.ts';

export async function readBatch(file: string, settings: DocumentSettings): Promise<BatchInput> {
  const path = resolve(callerFolder(), file);
  let given: unknown;
  try {
    given = parse(await readFile(path, 'utf8'), { maxAliasCount: 100 });
  } catch (cause) {
    throw new CheckpointConfigError(`The batch document ${path} cannot be read: ${(cause as Error).message}`, undefined, { cause });
  }
  const folder = dirname(path);
  const batch = checkBatch(given);
  // What the item fills in later stands as it is until then.
  const kept = escaped(batch.pipeline);
  const pipeline = await checkInput(kept, folder, settings);
  // A location that begins with the item's is where the item is, not beside the document.
  const stages = pipeline.stages.map(
    (stage) =>
      Object.fromEntries(
        Object.entries(stage).map(([key, value]) => [
          key,
          typeof value === 'string' && value.startsWith(`${folder}/\${item.`) ? value.slice(folder.length + 1) : value,
        ]),
      ) as StageSpec,
  );
  const place = (location: string): string => {
    refuseCredential(location, 'items');
    return /^[a-z][a-z0-9+.-]*:\/\//i.test(location) || isAbsolute(location) ? location : resolve(folder, location);
  };
  return {
    ...batch,
    items: placed(batch.items, place),
    pipeline: { ...pipeline, stages },
    ...(batch.results === undefined ? {} : { results: place(batch.results) }),
  };
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
