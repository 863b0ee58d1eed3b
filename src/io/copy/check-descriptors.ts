/**
 * Compares the data descriptors behind the storages of archives with the directory.
 *
 * Who copies tensors goes by the directory alone, and does not read what lies behind them; others may go by the descriptor.
 */
import { HAS_DESCRIPTOR } from '../../formats/zip/data-descriptor.ts';
import { strayBytes } from '../../formats/zip/member.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import type { ArchiveMember, Header } from '../../model/header.ts';
import { mapAtOnce } from '../at-once.ts';

/** Members that are looked at together: a store answers each after a while. */
const AT_ONCE = 16;

/** Throws `CheckpointLoadError` for the first that says something else. */
export async function checkDescriptors(
  { files, storages }: Pick<Header, 'files' | 'storages'>,
  open: (file: PinnedFile) => Promise<ByteSource>,
): Promise<void> {
  const described = files.map((): ArchiveMember[] => []);
  for (const { file, location } of storages)
    if (location.kind === 'member' && (location.flags & HAS_DESCRIPTOR) !== 0) described[file]?.push(location);
  for (const [index, members] of described.entries()) {
    if (members.length === 0) continue;
    const source = await open(files[index]!);
    try {
      await mapAtOnce(members, AT_ONCE, (member) => strayBytes(source, member));
    } finally {
      await source.close();
    }
  }
}
