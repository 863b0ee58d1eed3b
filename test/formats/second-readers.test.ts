/** Independent readers of the same bytes: yauzl for archives, pickleparser for pickles; and mutated files for both of ours. */
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Parser } from 'pickleparser';
import yauzl from 'yauzl';
import { isCheckpointError } from '../../src/errors.ts';
import { readHeader } from '../../src/formats/read-header.ts';
import { readArchive } from '../../src/formats/zip/archive.ts';
import { readMember } from '../../src/formats/zip/member.ts';
import { openLocalFile } from '../../src/io/local/local-file.ts';
import type { ByteSource } from '../../src/model/byte-source.ts';
import { EXPECTED, fixture } from '../support/project.ts';

const archives = Object.entries(EXPECTED.good).filter(([, { container, may_refuse }]) => container === 'zip' && may_refuse !== true);

test.each(archives)('yauzl reads the members of %s as we do', async (path) => {
  const source = await openLocalFile(fixture(path));
  const members = new Map((await readArchive(source)).members.map((member) => [member.name, member]));
  const archive = await yauzl.openPromise(fixture(path));
  let count = 0;
  for await (const entry of archive.eachEntry()) {
    const chunks: Buffer[] = [];
    for await (const chunk of await archive.openReadStreamPromise(entry)) chunks.push(chunk as Buffer);
    expect(Buffer.from(await readMember(source, members.get(entry.fileName)!, 2 ** 30)).equals(Buffer.concat(chunks))).toBe(true);
    count++;
  }
  expect(count).toBe(members.size);
  await source.close();
});

/** Generic stand-ins: pickleparser builds whatever a name is resolved to. Pickles with long ints are not among the files: it throws on them. */
class Stand extends Map<unknown, unknown> {}

test.each(['good/lightning_trained.ckpt', 'good/pytorch_training.pt', 'good/model_key.pt'])(
  'pickleparser finds the same top-level keys in %s',
  async (path) => {
    const source = await openLocalFile(fixture(path));
    const { members } = await readArchive(source);
    const pickle = await readMember(
      source,
      members.find(({ name }) => name.endsWith('/data.pkl'))!,
      2 ** 20,
    );
    const parser = new Parser({
      unpicklingTypeOfDictionary: 'Map',
      nameResolver: {
        resolve: () =>
          function stand() {
            return new Stand();
          },
      } as never,
      persistentResolver: { resolve: () => new Stand() } as never,
    });
    const theirs = [...(parser.parse(pickle) as Map<string, unknown>).keys()];
    const { tree } = await readHeader(source);
    const root = tree!.nodes[tree!.root] as { entries: readonly (readonly [number, number])[] };
    expect(root.entries.map(([key]) => tree!.nodes[key])).toEqual(theirs);
    await source.close();
  },
);

describe('mutated files end in a header or a typed error', () => {
  test.each(['good/lightning_trained.ckpt', 'good/dtypes.pt', 'good/deflated.pt', 'good/metadata.safetensors'])('%s', async (path) => {
    const original = await readFile(fixture(path));
    const edit = fc.record({ at: fc.nat(original.length - 1), byte: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 6 }), fc.nat(original.length), async (edits, cut) => {
        const bytes = Buffer.from(original);
        for (const { at, byte } of edits) bytes[at] = byte;
        await expectTyped(bytes);
        await expectTyped(original.subarray(0, cut));
      }),
      { numRuns: 150 },
    );
  });
});

async function expectTyped(bytes: Buffer): Promise<void> {
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    if (offset < 0 || offset + length > bytes.length)
      throw Object.assign(new Error('past the end'), { name: 'CheckpointLoadError', code: 'CheckpointLoadError' });
    return new Uint8Array(bytes.subarray(offset, offset + length));
  };
  const source: ByteSource = {
    uri: 'memory:',
    size: bytes.length,
    identity: '',
    read,
    readInto: async (offset, target) => target.set(await read(offset, target.length)),
    close: async () => undefined,
  };
  const error = await readHeader(source).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (error !== null && !isCheckpointError(error)) throw error;
}
