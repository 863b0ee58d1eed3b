/**
 * What of archives nobody looks at who copies their tensors: data descriptors, by which others may go where we go by the directory, and the
 * bytes of members that no tensor is read from.
 */
import { crc32 } from 'node:zlib';
import { readArchive } from '../../formats/zip/archive.ts';
import { HAS_DESCRIPTOR } from '../../formats/zip/data-descriptor.ts';
import { damagedMember, strayBytes } from '../../formats/zip/member.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import type { ArchiveMember, Header } from '../../model/header.ts';
import { mapAtOnce } from '../at-once.ts';
import { openStorage } from './storage-reader.ts';

/** Members that are looked at together: a store answers each after a while. */
const AT_ONCE = 16;
/** Bytes of one read. */
const BLOCK = 256 * 1024;

/** Throws `CheckpointLoadError` for the first member that is not what the directory says. `compared`: storages whose bytes were, as a whole. */
export async function checkArchives(
  { container, files, storages }: Pick<Header, 'container' | 'files' | 'storages'>,
  open: (file: PinnedFile) => Promise<ByteSource>,
  compared: ReadonlySet<number>,
): Promise<void> {
  // An archive may have no tensors.
  const archives = new Set(container === 'zip' || container === 'torchscript' ? [0] : []);
  const done = files.map(() => new Set<number>());
  for (const [index, { file, location }] of storages.entries()) {
    if (location.kind !== 'member') continue;
    archives.add(file);
    if (compared.has(index)) done[file]!.add(location.header);
  }
  for (const file of archives) {
    const source = await open(files[file]!);
    try {
      const { members } = await readArchive(source);
      await mapAtOnce(members, AT_ONCE, async (member) => {
        if ((member.flags & HAS_DESCRIPTOR) !== 0) await strayBytes(source, member);
        if (!done[file]!.has(member.header)) await compareMember(source, member);
      });
    } finally {
      await source.close();
    }
  }
}

async function compareMember(source: ByteSource, member: ArchiveMember): Promise<void> {
  const reader = await openStorage(source, { file: 0, location: member, length: member.size });
  try {
    const block = new Uint8Array(Math.min(BLOCK, member.size));
    let sum = 0;
    for (let offset = 0; offset < member.size; offset += block.length) {
      const bytes = block.subarray(0, Math.min(block.length, member.size - offset));
      await reader.readInto(offset, bytes);
      sum = crc32(bytes, sum);
    }
    if (member.crc32 !== 0 && sum !== member.crc32) throw damagedMember(source.uri, member, sum);
  } finally {
    reader.close();
  }
}
