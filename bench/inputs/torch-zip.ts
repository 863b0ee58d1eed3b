/**
 * torch's zip container as torch 2.x writes it (`caffe2/serialize/inline_container.cc`): stored members in the order data.pkl,
 * .format_version, .storage_alignment, byteorder, data/*, version, .data/serialization_id; local headers without sizes and a data
 * descriptor after each (flags 0x808); data at multiples of 64, reached by an `FB` extra field; zip64 end record always.
 * Members here stay below 4 GiB, and so does the file: no zip64 fields in entries.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { NOISE_BLOCK, noise } from './noise.ts';
import { writeFileWhole, type OutputFile } from './output-file.ts';
import { writePickle, type PickleValue } from './pickle.ts';

const ALIGNMENT = 64;
const FLAGS = 0x0808;
const ROOT = 'archive';

interface Entry {
  readonly name: Buffer;
  readonly crc: number;
  readonly size: number;
  readonly offset: number;
}

export interface TorchZip {
  readonly root: PickleValue;
  /** Bytes of storage `data/<index>`. */
  readonly storages: readonly number[];
  readonly seed: number;
}

export async function writeTorchZip(path: string, { root, storages, seed }: TorchZip): Promise<void> {
  await writeFileWhole(path, async (output) => {
    const entries: Entry[] = [];
    const add = async (name: string, content: Uint8Array | number): Promise<void> => {
      entries.push(await member(output, `${ROOT}/${name}`, content, random));
    };
    const random = noise(seed);
    await add('data.pkl', writePickle(root));
    await add('.format_version', Buffer.from('1'));
    await add('.storage_alignment', Buffer.from(`${ALIGNMENT}`));
    await add('byteorder', Buffer.from('little'));
    for (const [index, length] of storages.entries()) await add(`data/${index}`, length);
    await add('version', Buffer.from('3\n'));
    await add('.data/serialization_id', serializationId(entries));
    await directory(output, entries);
  });
}

/** Forty digits: torch's are a digest of names and CRCs, too. */
function serializationId(entries: readonly Entry[]): Buffer {
  const hash = createHash('sha256');
  for (const { name, crc } of entries) hash.update(name).update(String(crc));
  const digits = BigInt(`0x${hash.digest('hex')}`).toString(10);
  return Buffer.from(digits.slice(0, 40).padStart(40, '0'));
}

/** `content`: the bytes, or how many bytes of noise. */
async function member(
  output: OutputFile,
  text: string,
  content: Uint8Array | number,
  random: (length: number) => Uint8Array,
): Promise<Entry> {
  const name = Buffer.from(text);
  const { offset } = output;
  const start = offset + 30 + name.length + 4;
  const padding = (ALIGNMENT - (start % ALIGNMENT)) % ALIGNMENT;
  const header = Buffer.alloc(30 + name.length + 4 + padding, 'Z');
  header.fill(0, 0, 30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(FLAGS, 6);
  header.writeUInt16LE(name.length, 26);
  header.writeUInt16LE(4 + padding, 28);
  name.copy(header, 30);
  header.write('FB', 30 + name.length, 'latin1');
  header.writeUInt16LE(padding, 30 + name.length + 2);
  await output.write(header);
  const size = typeof content === 'number' ? content : content.length;
  let crc = 0;
  for (let done = 0; done < size; done += NOISE_BLOCK) {
    const bytes = typeof content === 'number' ? random(Math.min(NOISE_BLOCK, size - done)) : content.subarray(done, done + NOISE_BLOCK);
    crc = crc32(bytes, crc);
    await output.write(bytes);
  }
  const descriptor = Buffer.alloc(16);
  descriptor.writeUInt32LE(0x08074b50, 0);
  descriptor.writeUInt32LE(crc, 4);
  descriptor.writeUInt32LE(size, 8);
  descriptor.writeUInt32LE(size, 12);
  await output.write(descriptor);
  return { name, crc, size, offset };
}

async function directory(output: OutputFile, entries: readonly Entry[]): Promise<void> {
  const start = output.offset;
  for (const { name, crc, size, offset } of entries) {
    const record = Buffer.alloc(46 + name.length);
    record.writeUInt32LE(0x02014b50, 0);
    record.writeUInt16LE(FLAGS, 8);
    record.writeUInt32LE(crc, 16);
    record.writeUInt32LE(size, 20);
    record.writeUInt32LE(size, 24);
    record.writeUInt16LE(name.length, 28);
    record.writeUInt32LE(offset, 42);
    name.copy(record, 46);
    await output.write(record);
  }
  const length = output.offset - start;
  const end = Buffer.alloc(56 + 20 + 22);
  end.writeUInt32LE(0x06064b50, 0);
  end.writeBigUInt64LE(44n, 4);
  end.writeUInt16LE(0x031e, 12);
  end.writeUInt16LE(0x002d, 14);
  end.writeBigUInt64LE(BigInt(entries.length), 24);
  end.writeBigUInt64LE(BigInt(entries.length), 32);
  end.writeBigUInt64LE(BigInt(length), 40);
  end.writeBigUInt64LE(BigInt(start), 48);
  end.writeUInt32LE(0x07064b50, 56);
  end.writeBigUInt64LE(BigInt(start + length), 64);
  end.writeUInt32LE(1, 72);
  end.writeUInt32LE(0x06054b50, 76);
  end.writeUInt16LE(Math.min(0xffff, entries.length), 84);
  end.writeUInt16LE(Math.min(0xffff, entries.length), 86);
  end.writeUInt32LE(length, 88);
  end.writeUInt32LE(start, 92);
  await output.write(end);
}
