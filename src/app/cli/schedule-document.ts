/** A schedule document from a file: when, and the document of the pipeline or batch beside it. */
import { resolve } from 'node:path';
import { CheckpointConfigError, isCheckpointError } from '../../errors.ts';
import { checkKeys, checkOneWork, checkTiming, SCHEDULE_KEYS, type ScheduleInput } from '../../pipeline/schedule.ts';
import { readBatch } from './batch-document.ts';
import { readDocument, type DocumentSettings } from './document.ts';
import { readPlaced, type Locate } from './placed-file.ts';

export interface ScheduleDocument {
  readonly id: string;
  readonly input: ScheduleInput;
  /** For what the server finds wrong. */
  readonly locate: Locate;
}

export async function readSchedule(file: string, settings: DocumentSettings): Promise<ScheduleDocument> {
  return readPlaced(file, 'schedule', async (given, folder, locate) => {
    const { id, pipeline, batch, ...timing } = checkKeys(given, SCHEDULE_KEYS);
    if (typeof id !== 'string' || id === '')
      throw new CheckpointConfigError('A schedule has an `id`: its name on the server, and the first part of the ids of its runs.', 'id');
    checkOneWork({ pipeline, batch });
    const when = checkTiming(timing);
    return { id, input: { ...when, ...(await readWork({ pipeline, batch }, folder, settings)) }, locate };
  });
}

type Work = { readonly pipeline: NonNullable<ScheduleInput['pipeline']> } | { readonly batch: NonNullable<ScheduleInput['batch']> };

/** The documents that one of the two names; paths count from the folder. */
export async function readWork(
  { pipeline, batch }: { readonly pipeline?: unknown; readonly batch?: unknown },
  folder: string,
  settings: DocumentSettings,
): Promise<Work> {
  const [key, path] = pipeline === undefined ? (['batch', batch] as const) : (['pipeline', pipeline] as const);
  if (typeof path !== 'string') throw new CheckpointConfigError(`\`${key}\` is the path of a ${key} document, relative to this one.`, key);
  try {
    return key === 'pipeline'
      ? { pipeline: await readDocument(resolve(folder, path), settings) }
      : { batch: await readBatch(resolve(folder, path), settings) };
  } catch (error) {
    if (!isCheckpointError(error) || 'line' in error.details) throw error;
    // What is wrong with the file itself stands where it is named.
    throw new CheckpointConfigError(error.message, undefined, { cause: error, details: { ...error.details, config_path: key } });
  }
}
