/** The files of a plan, opened when their bytes are wanted, a bounded number at a time. */
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import { settled } from '../settled.ts';

/** A sharded checkpoint may have hundreds of files; a process, few descriptors. */
export const OPEN_MAX = 32;

export interface OpenFiles<Source extends ByteSource> {
  /** The file of that index, opened as it was pinned. */
  source(index: number): Promise<Source>;
  /** Closes all; throws the first error of a file that changed meanwhile. */
  close(): Promise<void>;
}

export function openFiles<Source extends ByteSource>(
  files: readonly PinnedFile[],
  open: (file: PinnedFile) => Promise<Source>,
): OpenFiles<Source> {
  const opened = new Map<number, Promise<Source>>();
  return {
    async source(index) {
      const held = opened.get(index);
      if (held !== undefined) {
        opened.delete(index);
        opened.set(index, held);
        return held;
      }
      if (opened.size >= OPEN_MAX) {
        const [oldest, file] = opened.entries().next().value!;
        opened.delete(oldest);
        await (await file).close();
      }
      const fresh = open(files[index]!);
      opened.set(index, fresh);
      fresh.catch(() => opened.delete(index));
      return fresh;
    },
    async close() {
      const closing = [...opened.values()].map(async (file) => (await file).close());
      opened.clear();
      await settled(closing);
    },
  };
}
