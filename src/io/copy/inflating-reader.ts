/**
 * A deflated storage by offset, in constant memory: inflated forward, from the start again where a reader goes back.
 *
 * Tensors of one storage are mostly read in a few runs that each go forward, as by name a bias comes before the weight that it lies
 * behind: each run goes on where it was.
 *
 * torch never writes such members, people who re-zip checkpoints do. Invariant: whoever reads to the end has the length and the
 * CRC-32 of the archive checked.
 */
import { Readable } from 'node:stream';
import { crc32, createInflateRaw, type InflateRaw } from 'node:zlib';
import { CheckpointLoadError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import type { ArchiveMember } from '../../model/header.ts';
import type { StorageReader } from './storage-reader.ts';

const CHUNK = 256 * 1024;
/** Runs through one storage that are kept, each with some hundred kilobytes. */
const RUNS = 8;

type DeflatedMember = Pick<ArchiveMember, 'name' | 'stored' | 'size' | 'crc32'>;

export interface Inflating {
  /** Told of bytes before they are inflated; may refuse. */
  readonly inflate?: (bytes: number) => void;
  /** Runs that are kept, where very many storages are read at a time. */
  readonly runs?: number;
}

/** `offset`: of the deflated bytes in the file. */
export function inflatingReader(
  source: ByteSource,
  member: DeflatedMember,
  offset: number,
  { inflate: spend, runs = RUNS }: Inflating = {},
): StorageReader {
  /** The one that was used last comes last. */
  const passes: Pass[] = [];

  /** The pass that has the least to skip. */
  function passTo(at: number): Pass {
    let best: Pass | undefined;
    for (const pass of passes) if (pass.position <= at && pass.position >= (best?.position ?? 0)) best = pass;
    if (best !== undefined) passes.splice(passes.indexOf(best), 1);
    else if (passes.length >= runs) passes.shift()!.stop();
    passes.push((best ??= startPass(source, member, offset)));
    return best;
  }

  return {
    length: member.size,
    async readInto(at, target, signal) {
      const pass = passTo(at);
      spend?.(at - pass.position + target.length);
      await pass.skip(at - pass.position, signal);
      await pass.fill(target, signal);
    },
    close: () => {
      for (const pass of passes) pass.stop();
    },
  };
}

interface Pass {
  readonly position: number;
  skip(count: number, signal?: AbortSignal): Promise<void>;
  fill(target: Uint8Array, signal?: AbortSignal): Promise<void>;
  stop(): void;
}

function startPass(source: ByteSource, member: DeflatedMember, offset: number): Pass {
  const { uri } = source;
  const bad = (what: string): CheckpointLoadError =>
    new CheckpointLoadError(`${uri} is not a valid zip archive: member ${member.name}: ${what}.`, uri);
  const compressed = Readable.from(compressedChunks(source, offset, member.stored), { objectMode: true });
  const inflate: InflateRaw = compressed.pipe(createInflateRaw({ chunkSize: CHUNK }));
  compressed.on('error', (error) => inflate.destroy(error));
  const chunks = inflate[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let chunk: Buffer = Buffer.alloc(0);
  let used = 0;
  let position = 0;
  let sum = 0;

  /** Hands out the next bytes that are there, at most `most`. */
  async function take(most: number, signal?: AbortSignal): Promise<Buffer> {
    while (used === chunk.length) {
      signal?.throwIfAborted();
      const next = await chunks.next().catch((cause: Error & { code?: string }) => {
        throw cause.code?.startsWith('Z_') === true ? bad(`it does not inflate (${cause.message})`) : cause;
      });
      if (next.done === true) throw bad(`it inflates to ${position} bytes, expected ${member.size}`);
      chunk = next.value;
      used = 0;
    }
    const bytes = chunk.subarray(used, used + most);
    used += bytes.length;
    position += bytes.length;
    sum = crc32(bytes, sum);
    if (position === member.size) await checkEnd();
    return bytes;
  }

  async function checkEnd(): Promise<void> {
    if (used < chunk.length || (await chunks.next()).done !== true) throw bad(`it inflates to more than its ${member.size} bytes`);
    if (inflate.bytesWritten !== member.stored)
      throw bad(`its deflate stream ends after ${inflate.bytesWritten} of ${member.stored} bytes`);
    if (member.crc32 !== 0 && sum !== member.crc32)
      throw bad(`its CRC-32 is ${sum.toString(16)}, expected ${member.crc32.toString(16)}: the bytes are damaged`);
  }

  return {
    get position() {
      return position;
    },
    async skip(count, signal) {
      for (let left = count; left > 0;) left -= (await take(left, signal)).length;
    },
    async fill(target, signal) {
      for (let at = 0; at < target.length;) {
        const bytes = await take(target.length - at, signal);
        target.set(bytes, at);
        at += bytes.length;
      }
    },
    stop() {
      compressed.destroy();
      inflate.destroy();
    },
  };
}

async function* compressedChunks(source: ByteSource, offset: number, length: number): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < length; done += CHUNK) yield await source.read(offset + done, Math.min(CHUNK, length - done));
}
