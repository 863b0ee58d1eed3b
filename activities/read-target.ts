/** The `target` option: what it may be, and reading it, header only. */
import { z } from 'zod';
import {
  CheckpointConfigError,
  CheckpointLoadError,
  CheckpointValidationError,
  errorOf,
  isCheckpointError,
  type ErrorCode,
  type JsonObject,
} from '../src/errors.ts';
import { JSON_LIMITS, parseBounded } from '../src/formats/json-bounds.ts';
import { readHeader } from '../src/formats/read-header.ts';
import { JsonScanner } from '../src/formats/safetensors/json-scanner.ts';
import { TENSORS_MAX } from '../src/formats/safetensors/read.ts';
import { siblingsOf } from '../src/io/locations/siblings.ts';
import { readInTurn } from '../src/io/turn.ts';
import { utf8Text } from '../src/io/utf8.ts';
import type { ByteSource } from '../src/model/byte-source.ts';
import type { Target } from '../src/model/target.ts';
import { targetOfHeader, targetOfSpec } from '../src/transform/target.ts';
import { refusedBy } from './option-checks.ts';
import type { StageCall } from './stage.ts';

/** Bytes of a spec: 100 000 tensors take about 10 MB, as many as are taken from a file 60 MB. */
const SPEC_MAX = 64 * 2 ** 20;
/** Values of a spec: five for each of as many tensors as any file may have, and more dimensions. */
const SPEC_LIMITS = { ...JSON_LIMITS, values: 8 * TENSORS_MAX };

export const TARGET = 'target';

export const targetOption = z
  .union([z.string().min(1), z.record(z.string(), z.looseObject({}))], {
    error: 'expected a path, a URI, or a mapping {name: {shape, dtype}}',
  })
  .superRefine(refusedBy((target) => typeof target === 'string' || targetOfSpec(target, { configPath: '' })))
  .describe(
    'what the weights must fit: path or URI of any readable checkpoint (its header is read) or of a JSON spec {name: {shape, dtype}}, or that spec itself',
  )
  .optional();

/** What is wrong with the target itself, and stays so; faults of a store are told as of any file, as they say when to try again. */
const ITS_OWN: readonly ErrorCode[] = ['CheckpointNotFoundError', 'CheckpointLoadError', 'CheckpointValidationError'];

/** Reads and checks the target, its weights under `stateDictKey` where that is given; errors say that it is the target that they are about. */
export async function readTarget(call: StageCall<unknown>, target: string | JsonObject, stateDictKey?: string): Promise<Target> {
  if (typeof target !== 'string') return targetOfSpec(target, { configPath: TARGET });
  return readTargetAt(call, target, stateDictKey).catch((error: unknown) => {
    throw ofTarget(error);
  });
}

/** The error, with words of whose file it is about: a run opens others, too. */
export function ofTarget(error: unknown): unknown {
  if (!isCheckpointError(error) || !ITS_OWN.includes(error.code)) return error;
  return errorOf({ type: error.code, message: `\`${TARGET}\`: ${error.message}`, details: error.details }, error);
}

async function readTargetAt(call: StageCall<unknown>, target: string, stateDictKey?: string): Promise<Target> {
  const ofOption = (error: unknown): never => {
    if (isCheckpointError(error) && error.code === 'CheckpointConfigError')
      throw new CheckpointConfigError(`\`target\`: ${error.message}`, TARGET, { cause: error, details: error.details });
    throw error;
  };
  const opened = await call.services.open(target).catch(ofOption);
  const source = readInTurn(opened, call.turn);
  try {
    const spec = await specIn(source).catch(ofOption);
    if (spec !== undefined) {
      checkTargetKey(stateDictKey, 'spec');
      return spec;
    }
    const siblings = siblingsOf(source.uri, async (sibling) => readInTurn(await call.services.open(sibling), call.turn));
    return targetOfHeader(await readHeader(source, siblings, { stateDictKey }).catch(ofOption), source.uri);
  } finally {
    await source.close();
  }
}

/** Only a checkpoint keeps its weights under a key. */
export function checkTargetKey(stateDictKey: string | undefined, kind: Target['kind'] | null): void {
  if (stateDictKey === undefined || kind === 'checkpoint') return;
  const why = kind === null ? 'there is no `target`' : 'a spec of names and shapes has no keys';
  throw new CheckpointConfigError(`\`target_state_dict_key\` is for a target that is a checkpoint: ${why}.`, 'target_state_dict_key');
}

/** What a JSON spec says; undefined for a checkpoint, an index of shards included. */
async function specIn(source: ByteSource): Promise<Target | undefined> {
  const start = Buffer.from(await source.read(0, Math.min(16, source.size))).toString('latin1');
  if (!/^\s*\{/.test(start)) return undefined;
  if (source.size > SPEC_MAX)
    throw new CheckpointLoadError(
      `${source.uri} begins like a JSON spec and has ${source.size} bytes; a spec has at most ${SPEC_MAX}.`,
      source.uri,
    );
  const text = utf8Text(Buffer.from(await source.read(0, source.size)), source.uri);
  let value: unknown;
  try {
    value = parseBounded(text, SPEC_LIMITS);
  } catch (cause) {
    const what = cause instanceof RangeError ? 'is too much JSON' : 'is not JSON';
    throw new CheckpointLoadError(`${source.uri} begins like a JSON spec but ${what}: ${(cause as Error).message}.`, source.uri, { cause });
  }
  if (typeof value === 'object' && value !== null && 'weight_map' in value) return undefined;
  const target = targetOfSpec(value, { uri: source.uri });
  refuseTwins(text, source.uri);
  return target;
}

/** Of a spec's text: what stands twice in it is lost on `JSON.parse`, and which one counts depends on the reader. */
function refuseTwins(text: string, uri: string): void {
  const json = new JsonScanner(text);
  try {
    json.object((name) => (name === '__metadata__' ? json.skip() : json.object(() => json.skip())));
  } catch (cause) {
    const why = (cause as Error).message;
    throw new CheckpointValidationError(`${uri} is not a target spec: ${why}. Write each name once.`, [why], { cause });
  }
}
