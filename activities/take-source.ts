/** What every source does once it knows where the checkpoint lies: open, pin, read the header, keep it in the workspace. */
import { realpath } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { CheckpointConfigError, CheckpointValidationError, type Json, type JsonObject } from '../src/errors.ts';
import { readHeader } from '../src/formats/read-header.ts';
import { PATH_MAX } from '../src/formats/torch/state-dict-key.ts';
import { breath } from '../src/io/breath.ts';
import { withCounts } from '../src/io/copy/read-training-counts.ts';
import { CHECKSUM_ALGORITHMS, checksumOf, verifyChecksum, type Checksum } from '../src/io/digests/checksum.ts';
import { siblingsOf } from '../src/io/locations/siblings.ts';
import { isS3, parseS3Source } from '../src/io/s3/location.ts';
import { readInTurn } from '../src/io/turn.ts';
import { askedFor, folderOf, pin, type ByteSource, type PinnedFile } from '../src/model/byte-source.ts';
import { tensorBytes } from '../src/model/dtype.ts';
import type { Header } from '../src/model/header.ts';
import { formatBytes, formatCount, formatText } from '../src/model/text.ts';
import { briefList } from '../src/transform/record.ts';
import type { StageCall, StageOutcome } from './stage.ts';
import { withPath } from './with-path.ts';

/** Of all sources: what the whole file must be. */
export const expectedChecksum = z
  .string()
  .refine((text) => checksumOf(text) !== undefined, {
    error: `expected 64 hexadecimal digits of a SHA-256, or another algorithm before them, such as \`sha512:\` (${CHECKSUM_ALGORITHMS.join(', ')})`,
  })
  // What is not a checksum was refused above.
  .transform((text) => checksumOf(text)!)
  .describe('SHA-256 of the whole file, or `algorithm:digest`; a file that has another fails before it is parsed')
  .optional();

/** Of all sources: where the weights lie, if not where they do by the rules. */
export const stateDictKey = z
  .string()
  .max(PATH_MAX)
  .describe(
    'key of the weights where it is none of state_dict, model_state_dict and model: `params_ema`, or `app.model` for a dict in a dict; empty: the top level itself, without what is not a tensor there',
  )
  .optional();

/** Tensors of a header that takes a while to read, and to write. */
const MANY = 10_000;

export interface Taken {
  readonly uri: string;
  /** Goes into the metadata as `source_type`. */
  readonly type: string;
  readonly expectedChecksum?: Checksum | undefined;
  readonly stateDictKey?: string | undefined;
}

export async function takeSource(call: StageCall<unknown>, taken: Taken): Promise<StageOutcome> {
  const { uri, type: sourceType, expectedChecksum, stateDictKey: key } = taken;
  const source = await call.services.open(uri, call.signal, call.stall).catch(async (error: unknown) => {
    if (call.last) await call.services.storage.forget(uri).catch(() => undefined);
    throw error;
  });
  try {
    if (expectedChecksum !== undefined) {
      await withPath(call, () => refuseSet(source));
      await verifyChecksum({
        source,
        expected: expectedChecksum,
        known: await call.services.storage.sha256(pin(source), call.signal),
        signal: call.signal,
        resume: call.resume,
        onProgress: (progress) => call.heartbeat({ ...progress, size: source.size }),
      });
    }
    const siblings = siblingsOf(source.uri, async (sibling) =>
      readInTurn(await call.services.open(sibling, call.signal, call.stall), call.turn),
    );
    const read = await withPath(call, () => readHeader(readInTurn(source, call.turn), siblings, { stateDictKey: key }));
    const header = await withCounts(read, (file) => call.services.openPinned(file), call.signal);
    if (call.services.refuseUnknown === true) refuseUnknown(source.uri, header);
    if (header.tensors.length >= MANY) await breath();
    const reference = await call.services.workspace(call.run.workspace).putJson(header);
    const size = Math.max(source.size, sumOf(header.files));
    const bytes = header.weights.reduce((sum, { tensor }) => sum + sizeOf(header.tensors[tensor]!), 0);
    // An earlier source's is none of this one.
    const { state_dict_key: _earlier, ...before } = call.context.metadata;
    const metadata: Record<string, Json> = {
      ...before,
      source_type: sourceType,
      ...(await placeOf(askedFor(source))),
      source_bytes: size,
      ...(expectedChecksum === undefined ? {} : { [`source_${expectedChecksum.algorithm}`]: expectedChecksum.digest }),
      checkpoint_format: header.format,
      ...(key === undefined ? {} : { state_dict_key: key }),
      ...opaqueGlobals(header),
    };
    return {
      context: { ...call.context, source: pin(source), header: reference, format: header.format, container: header.container, metadata },
      summary: `${formatText(header)}: ${formatCount(header.weights.length, 'tensor')}, ${formatBytes(bytes)} of ${formatBytes(size)}`,
    };
  } finally {
    await source.close();
  }
}

/** One checksum is that of one file. */
function refuseSet({ uri, set = [] }: ByteSource): void {
  if (set.length < 2) return;
  throw new CheckpointConfigError(
    `\`expected_checksum\` is of one file, but ${folderOf(uri)} is a checkpoint of ${set.length} files. Leave the option out, and compare the checksum of each file before the run (\`sha256sum -c\`).`,
    'expected_checksum',
  );
}

/** Where it was read from, as the record says it. */
async function placeOf(uri: string): Promise<Readonly<Record<string, Json>>> {
  if (uri.startsWith('file:')) {
    const path = fileURLToPath(uri);
    return { source_path: await realpath(path).catch(() => path) };
  }
  if (!isS3(uri)) return { source_url: uri };
  const { bucket, key } = parseS3Source(uri);
  return { source_url: uri, s3_bucket: bucket, s3_key: key };
}

/** Classes and functions that the file names and we do not know: their objects are data, and are listed. */
function opaqueGlobals({ globals }: Header): JsonObject {
  const names = [...new Set(globals.filter(({ verdict }) => verdict === 'unknown').map(({ module, name }) => `${module}.${name}`))];
  return names.length === 0 ? {} : briefList('opaque_globals', 'num_opaque_globals', names);
}

/** For workers that are set to take known names only. */
function refuseUnknown(uri: string, { globals }: Header): void {
  const unknown = globals.filter(({ verdict }) => verdict !== 'safe').slice(0, 100);
  if (unknown.length === 0) return;
  const names = [...new Set(unknown.map(({ module, name }) => `${module}.${name}`))];
  throw new CheckpointValidationError(
    `${uri} names ${names.slice(0, 20).join(', ')}, which this worker does not know to be harmless, and it was started with --refuse-unknown. Save the checkpoint without them, or use another worker.`,
    names.map((name) => `unknown global ${name}`),
    { details: { globals: unknown.map(({ module, name, verdict, member, position }) => ({ module, name, verdict, member, position })) } },
  );
}

/** A checkpoint of several files counts them all. */
function sumOf(files: readonly PinnedFile[]): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}

function sizeOf(tensor: {
  readonly dtype: Parameters<typeof tensorBytes>[0];
  readonly shape: readonly number[];
  readonly unsupported?: string;
}): number {
  return tensor.unsupported === undefined ? tensorBytes(tensor.dtype, tensor.shape) : 0;
}
