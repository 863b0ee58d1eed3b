/** The `target` option: what it may be, and reading it, header only. */
import { z } from 'zod';
import { CheckpointConfigError, CheckpointLoadError, isCheckpointError, type JsonObject } from '../src/errors.ts';
import { readHeader } from '../src/formats/read-header.ts';
import { siblingsOf } from '../src/io/siblings.ts';
import { readInTurn } from '../src/io/turn.ts';
import type { ByteSource } from '../src/model/byte-source.ts';
import type { Target } from '../src/model/target.ts';
import { targetOfHeader, targetOfSpec } from '../src/transform/target.ts';
import { refusedBy } from './option-checks.ts';
import type { StageCall } from './stage.ts';

/** Bytes of a spec: 100 000 tensors take about 10 MB. */
const SPEC_MAX = 256 * 1024 * 1024;

export const targetOption = z
  .union([z.string().min(1), z.record(z.string(), z.looseObject({}))], {
    error: 'expected a path, a URI, or a mapping {name: {shape, dtype}}',
  })
  .superRefine(refusedBy((target) => typeof target === 'string' || targetOfSpec(target, { configPath: '' })))
  .describe(
    'what the weights must fit: path or URI of any readable checkpoint (its header is read) or of a JSON spec {name: {shape, dtype}}, or that spec itself',
  )
  .optional();

/** Reads and checks the target; errors say that it is the target that they are about. */
export async function readTarget(call: StageCall<unknown>, target: string | JsonObject): Promise<Target> {
  const configPath = `stages[${call.stage.index}].target`;
  if (typeof target !== 'string') return targetOfSpec(target, { configPath });
  const opened = await call.services.open(target).catch((error: unknown) => {
    if (isCheckpointError(error) && error.code === 'CheckpointConfigError')
      throw new CheckpointConfigError(`\`target\`: ${error.message}`, configPath, { cause: error, details: error.details });
    throw error;
  });
  const source = readInTurn(opened, call.turn);
  try {
    const spec = await specIn(source);
    if (spec !== undefined) return targetOfSpec(spec, { uri: source.uri });
    const siblings = siblingsOf(source.uri, async (sibling) => readInTurn(await call.services.open(sibling), call.turn));
    return targetOfHeader(await readHeader(source, siblings), source.uri);
  } finally {
    await source.close();
  }
}

/** The JSON of a spec; undefined for a checkpoint, an index of shards included. */
async function specIn(source: ByteSource): Promise<unknown> {
  const start = Buffer.from(await source.read(0, Math.min(16, source.size))).toString('latin1');
  if (!/^\s*\{/.test(start)) return undefined;
  if (source.size > SPEC_MAX)
    throw new CheckpointLoadError(
      `${source.uri} begins like a JSON spec and has ${source.size} bytes; a spec has at most ${SPEC_MAX}.`,
      source.uri,
    );
  const text = new TextDecoder().decode(await source.read(0, source.size));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointLoadError(`${source.uri} begins like a JSON spec but is no JSON: ${(cause as Error).message}.`, source.uri, {
      cause,
    });
  }
  return typeof value === 'object' && value !== null && 'weight_map' in value ? undefined : value;
}
