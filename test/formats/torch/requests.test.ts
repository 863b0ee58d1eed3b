/** How much of a large archive its header takes, by what was really asked for. */
import { crc32 } from 'node:zlib';
import { expect, test } from '@jest/globals';
import { readHeader } from '../../../src/formats/read-header.ts';
import { windowed } from '../../../src/io/caching-source.ts';
import { memorySource, type Made } from '../../support/memory-source.ts';
import { pickle, type Pickled } from '../../support/pickle.ts';

/** Bytes that torch aligns storages to. */
const ALIGNMENT = 64;

interface Entry {
  readonly name: string;
  /** Content, or so many zeros. */
  readonly content: Uint8Array | number;
}

/** An archive as torch lays it out; zeros are made when they are asked for. */
function archive(entries: readonly Entry[]): Made {
  const pieces: { readonly at: number; readonly bytes: Uint8Array }[] = [];
  const central: Uint8Array[] = [];
  let at = 0;
  for (const { name, content } of entries) {
    const size = typeof content === 'number' ? content : content.length;
    const sum = typeof content === 'number' ? 0 : crc32(content);
    const title = Buffer.from(name);
    const padding = (ALIGNMENT - ((at + 30 + title.length + 4) % ALIGNMENT)) % ALIGNMENT;
    const fixed = Buffer.alloc(26);
    fixed.writeUInt32LE(sum, 10);
    fixed.writeUInt32LE(size, 14);
    fixed.writeUInt32LE(size, 18);
    fixed.writeUInt16LE(title.length, 22);
    fixed.writeUInt16LE(4 + padding, 24);
    const extra = Buffer.alloc(4 + padding, 'Z');
    extra.write('FB');
    extra.writeUInt16LE(padding, 2);
    const entry = Buffer.alloc(46);
    entry.write('PK\x01\x02', 'latin1');
    fixed.copy(entry, 6, 0, 24);
    entry.writeUInt16LE(0, 30);
    entry.writeUInt32LE(at, 42);
    central.push(entry, title);
    const local = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), fixed, title, extra]);
    pieces.push({ at, bytes: typeof content === 'number' ? local : Buffer.concat([local, content]) });
    at += local.length + size;
  }
  const directory = Buffer.concat(central);
  // Always with the zip64 records, as torch writes them for many members.
  const end = Buffer.alloc(98);
  end.write('PK\x06\x06', 'latin1');
  end.writeBigUInt64LE(44n, 4);
  for (const [offset, value] of [
    [24, entries.length],
    [32, entries.length],
    [40, directory.length],
    [48, at],
  ] as const)
    end.writeBigUInt64LE(BigInt(value), offset);
  end.write('PK\x06\x07', 56, 'latin1');
  end.writeBigUInt64LE(BigInt(at + directory.length), 64);
  end.writeUInt32LE(1, 72);
  end.write('PK\x05\x06', 76, 'latin1');
  end.fill(0xff, 84, 96);
  pieces.push({ at, bytes: Buffer.concat([directory, end]) });
  return {
    size: at + directory.length + end.length,
    at(offset, length) {
      const bytes = new Uint8Array(length);
      for (const piece of pieces) {
        const from = Math.max(offset, piece.at);
        const to = Math.min(offset + length, piece.at + piece.bytes.length);
        if (from < to) bytes.set(piece.bytes.subarray(from - piece.at, to - piece.at), from - offset);
      }
      return bytes;
    },
  };
}

function checkpoint(members: number, elements: number): Made {
  const tensor = (key: number): Pickled => ({
    call: 'torch._utils._rebuild_tensor_v2',
    args: [
      { persistent: { tuple: ['storage', { global: 'torch.FloatStorage' }, String(key), 'cpu', elements] } },
      0,
      { tuple: [elements] },
      { tuple: [1] },
      false,
      { call: 'collections.OrderedDict', args: [] },
    ],
  });
  const weights = Array.from({ length: members }, (_, key) => [`model.model.processor.proc.${key}.layer.weight`, tensor(key)] as const);
  const main = pickle({ dict: [['state_dict', { dict: weights }]] });
  return archive([
    { name: 'archive/data.pkl', content: main },
    { name: 'archive/.format_version', content: Buffer.from('1') },
    { name: 'archive/.storage_alignment', content: Buffer.from('64') },
    { name: 'archive/byteorder', content: Buffer.from('little') },
    ...weights.map((_, key) => ({ name: `archive/data/${key}`, content: 4 * elements })),
    { name: 'archive/version', content: Buffer.from('3\n') },
    { name: 'archive/.data/serialization_id', content: Buffer.alloc(40, '1') },
  ]);
}

test('the header of a 2 GB archive of 782 members takes at most 4 reads and 1 MiB', async () => {
  const source = memorySource(checkpoint(776, 671_000));
  expect(source.size).toBeGreaterThan(2e9);
  const header = await readHeader(windowed(source));
  expect(header.weights).toHaveLength(776);
  expect(source.asked.requests).toBeLessThanOrEqual(4);
  expect(source.asked.bytes).toBeLessThanOrEqual(2 ** 20);
});

test('20 000 tensors take a few reads', async () => {
  const source = memorySource(checkpoint(20_000, 16));
  const header = await readHeader(windowed(source));
  expect(header.weights).toHaveLength(20_000);
  expect(source.asked.requests).toBeLessThanOrEqual(6);
});
