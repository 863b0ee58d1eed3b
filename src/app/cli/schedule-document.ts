/** A schedule document from a file: when, and the document of the pipeline or batch beside it. */
import { resolve } from 'node:path';
import { CheckpointConfigError, isCheckpointError, type CheckpointError } from '../../errors.ts';
import type { Mapping } from '../../model/json.ts';
import { aboutOthers, allProblems, pathOf, throwTogether } from '../../pipeline/all-problems.ts';
import { ofAnotherKind, withUnknownKeys } from '../../pipeline/document-kinds.ts';
import { checkMapping, checkOneWork, checkTiming, SCHEDULE_KEYS, timingChecks, type ScheduleInput } from '../../pipeline/schedule.ts';
import { readBatch } from './batch-document.ts';
import { folderOf, notingUnused, readDocument, valuesFor, type DocumentSettings } from './document.ts';
import { interpolateSettings } from './interpolate.ts';
import { readPlaced, type Locate } from './placed-file.ts';

export interface ScheduleDocument {
  readonly id: string;
  readonly input: ScheduleInput;
}

/** `locate`: for what the server finds wrong. */
export async function readSchedule(file: string, settings: DocumentSettings): Promise<ScheduleDocument & { readonly locate: Locate }> {
  return readPlaced(file, 'schedule', async (given, { folder, locate }) => ({
    ...(await checkScheduleInput(given, folder, settings)),
    locate,
  }));
}

/** Settings that are text; others may be numbers and booleans. */
const TEXTS = ['id', 'pipeline', 'batch', 'cron', 'time_zone', 'overlap', 'note'];

/** What runs: each the path of a document. */
const WORK: readonly string[] = ['pipeline', 'batch'];

/** A document that is read already; the paths in it count from `folder`. */
export async function checkScheduleInput(given: unknown, folder: string, settings: DocumentSettings): Promise<ScheduleDocument> {
  const written = checkMapping(given);
  const another = ofAnotherKind(written, SCHEDULE_KEYS, 'schedule');
  if (another !== undefined) throw another;
  return notingUnused(settings, async (noted) => {
    const problems: CheckpointError[] = [];
    const values = valuesFor(given, noted, (error) => problems.push(error));
    // Of a document in place of its path, that is what is wrong.
    const held = Object.fromEntries(Object.entries(written).filter(([key, value]) => WORK.includes(key) && typeof value !== 'string'));
    const others = Object.fromEntries(Object.entries(written).filter(([key]) => !Object.hasOwn(held, key)));
    const { id, pipeline, batch, ...timing }: Mapping = { ...held, ...interpolateSettings(others, values, TEXTS) };
    const found = allProblems([
      () => checkId(id),
      () => checkOneWork({ pipeline, batch }),
      ...WORK.map((key) => () => void (written[key] !== undefined && checkPath(key, written[key]))),
      ...timingChecks(timing),
    ]);
    throwTogether([...problems, ...aboutOthers(withUnknownKeys(found, written, SCHEDULE_KEYS, 'schedule'), problems.map(pathOf))]);
    const work = await readWork({ pipeline, batch }, folderOf(written['pipeline'] ?? written['batch'], given, folder), noted);
    return { id: String(id), input: { ...checkTiming(timing), ...work } };
  });
}

function checkId(id: unknown): void {
  if (typeof id !== 'string' || id === '')
    throw new CheckpointConfigError('A schedule has an `id`: its name on the server, and the first part of the ids of its runs.', 'id');
}

function checkPath(key: string, path: unknown): asserts path is string {
  if (typeof path !== 'string') throw new CheckpointConfigError(`\`${key}\` is the path of a ${key} document, relative to this one.`, key);
}

type Work = { readonly pipeline: NonNullable<ScheduleInput['pipeline']> } | { readonly batch: NonNullable<ScheduleInput['batch']> };

/** The documents that one of the two names; paths count from the folder. */
export async function readWork(
  { pipeline, batch }: { readonly pipeline?: unknown; readonly batch?: unknown },
  folder: string,
  settings: DocumentSettings,
): Promise<Work> {
  const [key, path] = pipeline === undefined ? (['batch', batch] as const) : (['pipeline', pipeline] as const);
  checkPath(key, path);
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
