/** Damaged checkpoints of every container end in bytes or a typed error, whichever bit is turned and wherever they are cut. */
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { describe, test } from '@jest/globals';
import fc from 'fast-check';
import { CheckpointNotFoundError, isCheckpointError } from '../../src/errors.ts';
import { readHeader } from '../../src/formats/read-header.ts';
import { openStorage } from '../../src/io/copy/storage-reader.ts';
import { tensorFill } from '../../src/io/copy/tensor-reader.ts';
import type { ByteSource } from '../../src/model/byte-source.ts';
import { isRankShard } from '../../src/model/checkpoint-names.ts';
import { tensorBytes } from '../../src/model/dtype.ts';
import { FIXTURES, PROJECT_ROOT } from '../support/project.ts';

const READERS = join(PROJECT_ROOT, 'test', 'fixtures', 'readers');
const RANK = 'shard-00001-model-00001-of-00002.safetensors';
/** Bytes of a tensor that are read; views may repeat more. */
const READ_MAX = 2 ** 20;

/** A folder of files in memory. */
function folder(files: ReadonlyMap<string, Uint8Array>): (name: string) => Promise<ByteSource> {
  return async (name) => {
    const bytes = files.get(name);
    if (bytes === undefined) throw new CheckpointNotFoundError(`${name} is not there`, name);
    const read = async (offset: number, length: number): Promise<Uint8Array> => {
      if (offset < 0 || length < 0 || offset + length > bytes.length) throw new Error(`read of ${length} at ${offset} of ${bytes.length}`);
      return bytes.slice(offset, offset + length);
    };
    return {
      uri: `memory:///${name}`,
      size: bytes.length,
      identity: 'memory',
      read,
      readInto: async (offset, target) => target.set(await read(offset, target.length)),
      close: async () => undefined,
    };
  };
}

/** Reads the header and all weights; anything but a typed error fails. */
async function readAll(files: ReadonlyMap<string, Uint8Array>, main: string): Promise<void> {
  const open = folder(files);
  try {
    const set = isRankShard(main) ? { set: [...files.keys()] } : {};
    const header = await readHeader({ ...(await open(main)), ...set }, open);
    const at = (file: number): Promise<ByteSource> => open(basename(header.files[file]!.uri));
    for (const { tensor: index } of header.weights) {
      const tensor = header.tensors[index]!;
      if (tensor.unsupported !== undefined) continue;
      const storage = header.storages[tensor.storage]!;
      const reader = await openStorage(await at(storage.file), storage, { files: header.files, open: at });
      await tensorFill(reader, storage, tensor)(0, new Uint8Array(Math.min(READ_MAX, tensorBytes(tensor.dtype, tensor.shape))));
      reader.close();
    }
  } catch (error) {
    if (!isCheckpointError(error)) throw error;
  }
}

const CASES: readonly (readonly [path: string, damaged: string])[] = [
  [join(FIXTURES, 'good/pytorch_training_legacy.pt'), 'pytorch_training_legacy.pt'],
  [join(FIXTURES, 'good/views_legacy.pt'), 'views_legacy.pt'],
  [join(FIXTURES, 'good/torchscript.pt'), 'torchscript.pt'],
  [join(FIXTURES, 'good/anemoi_metadata_deflated.ckpt'), 'anemoi_metadata_deflated.ckpt'],
  [join(FIXTURES, 'good/sharded_pytorch/pytorch_model.bin.index.json'), 'pytorch_model.bin.index.json'],
  [join(FIXTURES, 'good/sharded_pytorch/pytorch_model.bin.index.json'), 'pytorch_model-00002-of-00002.bin'],
  [join(READERS, 'modules.pt'), 'modules.pt'],
  [join(READERS, 'training/.metadata'), '.metadata'],
  [join(READERS, 'training/.metadata'), '__0_0.distcp'],
  [join(READERS, 'sharded/.metadata'), '.metadata'],
  [join(READERS, `ranks/${RANK}`), RANK],
];

describe('mutated', () => {
  test.each(CASES)('%s: %s', async (path, damaged) => {
    const files = new Map<string, Uint8Array>();
    const wanted = (name: string): boolean => dirname(path) !== join(FIXTURES, 'good') || name === basename(path);
    for (const each of await readdir(dirname(path), { withFileTypes: true }))
      if (each.isFile() && wanted(each.name)) files.set(each.name, await readFile(join(dirname(path), each.name)));
    const original = files.get(damaged)!;
    const edit = fc.record({ at: fc.nat(original.length - 1), byte: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 5 }), fc.option(fc.nat(original.length)), async (edits, cut) => {
        const bytes = Uint8Array.from(original);
        for (const { at, byte } of edits) bytes[at] = byte;
        await readAll(new Map([...files, [damaged, bytes.subarray(0, cut ?? bytes.length)]]), basename(path));
      }),
      { numRuns: 100 },
    );
  });
});
