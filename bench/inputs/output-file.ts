/** A file under construction: sequential writes gathered into large ones, complete under its name or not there. */
import { open, rename, rm } from 'node:fs/promises';

const BUFFER = 4 * 1024 * 1024;

export interface OutputFile {
  readonly offset: number;
  write(bytes: Uint8Array): Promise<void>;
}

/** Runs `make` on a file that takes the name `path` when it has succeeded; bytes handed over are copied or written at once. */
export async function writeFileWhole(path: string, make: (output: OutputFile) => Promise<void>): Promise<void> {
  const partial = `${path}.${process.pid}.partial`;
  const file = await open(partial, 'w');
  try {
    const buffer = new Uint8Array(BUFFER);
    let held = 0;
    let offset = 0;
    const flush = async (bytes: Uint8Array): Promise<void> => {
      let done = 0;
      while (done < bytes.length) done += (await file.write(bytes, done, bytes.length - done)).bytesWritten;
    };
    await make({
      get offset() {
        return offset;
      },
      async write(bytes) {
        offset += bytes.length;
        if (held + bytes.length > BUFFER) {
          await flush(buffer.subarray(0, held));
          held = 0;
        }
        if (bytes.length > BUFFER) return flush(bytes);
        buffer.set(bytes, held);
        held += bytes.length;
      },
    });
    await flush(buffer.subarray(0, held));
    await file.close();
    await rename(partial, path);
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(partial, { force: true });
    throw error;
  }
}
