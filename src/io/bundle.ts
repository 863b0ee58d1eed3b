/**
 * A run in one zip: what was asked for, what came of it, and the history that replays it.
 *
 * Invariant: written from the run's own records, which hold no credentials, and from nothing of this machine. A bundle that is
 * read may come from anybody: what is taken out of it is bounded before it is inflated, and while.
 */
import { Readable } from 'node:stream';
import JSZip from 'jszip';
import { CheckpointLoadError, CheckpointNotFoundError } from '../errors.ts';
import { JSON_LIMITS, parseBounded } from '../formats/json-bounds.ts';
import { openAtOnce } from './local/local-file.ts';

/** Of the run with that number, from 1: a batch goes on in further runs, each with a history of its own. */
export function historyName(run: number): string {
  return run === 1 ? 'history.json' : `history-${run}.json`;
}

/** Bytes of a bundle, and of a history in it: a server keeps at most 50 MiB of events, which JSON with base64 makes larger. */
const MOST_BYTES = 512 * 2 ** 20;
const MOST_HISTORY = 256 * 2 ** 20;
/** Values of a history: a server keeps at most 51 200 events, of some twenty each. */
const HISTORY_LIMITS = { ...JSON_LIMITS, values: 4_000_000 };

/** Names to texts. */
export async function packBundle(entries: Readonly<Record<string, string>>, created: Date): Promise<Uint8Array> {
  const zip = new JSZip();
  for (const [name, text] of Object.entries(entries)) zip.file(name, text, { date: created });
  return zip.generateAsync({ type: 'uint8array', compression: 'DEFLATE', compressionOptions: { level: 6 } });
}

/**
 * The histories in a bundle, parsed, in the order of the runs; `CheckpointLoadError` where there is none, or one is not JSON.
 *
 * One at a time, as each may be large.
 */
export async function* historiesInBundle(path: string): AsyncGenerator<{ readonly name: string; readonly history: unknown }> {
  const zip = await JSZip.loadAsync(await bytesOf(path)).catch((cause: Error) => {
    throw new CheckpointLoadError(`${path} is not a bundle: not a zip archive, or a damaged one. Make it with \`ckpt bundle\`.`, path, {
      cause,
    });
  });
  const first = zip.file(historyName(1));
  if (first === null) throw new CheckpointLoadError(`${path} holds no ${historyName(1)}. Make a bundle with \`ckpt bundle\`.`, path);
  let file: JSZip.JSZipObject | null = first;
  for (let run = 2; file !== null; file = zip.file(historyName(run++))) yield { name: file.name, history: await parsed(path, file) };
}

async function parsed(path: string, file: JSZip.JSZipObject): Promise<unknown> {
  const decoder = new TextDecoder();
  let text = '';
  let size = 0;
  try {
    // Inflated piece by piece: what the archive says of its size is the word of whoever made it.
    // An old-fashioned stream, hence wrapped.
    for await (const chunk of new Readable().wrap(file.nodeStream())) {
      // `nodeStream` gives buffers unless told otherwise.
      size += (chunk as Buffer).length;
      if (size > MOST_HISTORY) throw new CheckpointLoadError(`${file.name} in ${path} is larger than ${MOST_HISTORY} bytes.`, path);
      text += decoder.decode(chunk as Buffer, { stream: true });
    }
    return parseBounded(text + decoder.decode(), HISTORY_LIMITS);
  } catch (cause) {
    if (cause instanceof CheckpointLoadError) throw cause;
    throw new CheckpointLoadError(`${file.name} in ${path} cannot be read: ${(cause as Error).message}`, path, { cause });
  }
}

async function bytesOf(path: string): Promise<Uint8Array> {
  const handle = await openAtOnce(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') throw new CheckpointNotFoundError(`There is no bundle ${path}.`, path, { cause });
    throw new CheckpointLoadError(`${path} cannot be opened: ${cause.message}.`, path, { cause });
  });
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new CheckpointLoadError(`${path} is not a file.`, path);
    if (stats.size > MOST_BYTES)
      throw new CheckpointLoadError(`${path} has ${stats.size} bytes; a bundle has at most ${MOST_BYTES}.`, path);
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}
