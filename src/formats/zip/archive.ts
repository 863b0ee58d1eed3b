/**
 * A zip archive's members, read by ranges and believed only where the archive agrees with itself.
 *
 * Invariant: what `readArchive` accepts has one directory at the very end of the file, members that do not overlap, and names
 * no two of which are equal (also not after case folding: torch looks members up ignoring case).
 */
import { CheckpointValidationError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import type { ArchiveMember, Finding } from '../../model/header.ts';
import { parseDirectory, type Placed } from './central-directory.ts';
import { DESCRIPTOR64_SIZE } from './data-descriptor.ts';
import { findDirectory } from './end-records.ts';
import { LARGEST_EXTRA } from './extra-fields.ts';
import { bufferOf, corrupt, LOCAL_HEADER_SIZE } from './fields.ts';
import { twinsAmong } from './names.ts';

export interface Archive {
  readonly members: readonly ArchiveMember[];
  readonly findings: readonly Finding[];
}

/** First read at the end of the file: holds the directory of most archives. */
const TAIL = 128 * 1024;

/** Reads and checks the directory; members' own headers are checked where they are read. */
export async function readArchive(source: ByteSource): Promise<Archive> {
  const { members, digests, directoryOffset, findings } = await readDirectory(source);
  checkNames(source.uri, members, digests);
  placeEnds(source.uri, members, directoryOffset, digests === null ? Buffer.byteLength : (name) => name.length);
  return { members, findings: [...findings, ...oddities(members)] };
}

/** The members of a directory that `readArchive` may refuse: twins and overlapping ones included. For looking, not for loading. */
export async function readUncheckedMembers(source: ByteSource): Promise<readonly ArchiveMember[]> {
  return (await readDirectory(source)).members;
}

async function readDirectory(
  source: ByteSource,
): Promise<ReturnType<typeof parseDirectory> & { readonly directoryOffset: number; readonly findings: readonly Finding[] }> {
  const tailOffset = Math.max(0, source.size - TAIL);
  const tail = bufferOf(await source.read(tailOffset, source.size - tailOffset));
  const { directory, findings } = findDirectory(source.uri, tail, tailOffset);
  const start = directory.offset - tailOffset;
  const bytes = start >= 0 ? tail.subarray(start, start + directory.size) : bufferOf(await source.read(directory.offset, directory.size));
  return { ...parseDirectory(source.uri, bytes, directory), directoryOffset: directory.offset, findings };
}

function checkNames(uri: string, members: readonly ArchiveMember[], digests: Int32Array | null): void {
  const twins = twinsAmong(members, digests);
  if (twins === undefined) return;
  const [twin, name] = twins;
  const message = `${uri} has two members that readers take for one name: ${JSON.stringify(twin)} and ${JSON.stringify(name)}. torch ignores case, so which is loaded depends on the reader; refuse the file or ask for another.`;
  throw new CheckpointValidationError(message, [], { details: { path: uri, members: [twin, name] } });
}

/** Says of each member where the next thing begins. How long a local header is, only `dataOffset` learns. `lengthOf`: a name's bytes. */
function placeEnds(uri: string, members: readonly Placed[], directoryOffset: number, lengthOf: (name: string) => number): void {
  // Mostly they stand as they lie.
  const isInOrder = members.every((member, index) => index === 0 || members[index - 1]!.header <= member.header);
  const inOrder = isInOrder ? members : [...members].sort((a, b) => a.header - b.header);
  let end = 0;
  let before = 'the start of the file';
  if (inOrder.length > 0 && inOrder[0]!.header !== 0)
    throw corrupt(uri, `its first member begins at ${inOrder[0]!.header}, expected 0: there are bytes before the archive`);
  for (let index = 0; index < inOrder.length; index++) {
    const member = inOrder[index]!;
    if (index > 0) inOrder[index - 1]!.end = member.header;
    if (member.header < end)
      throw corrupt(uri, `member ${member.name} at ${member.header} overlaps ${before}, which ends at ${end} or later`);
    end = member.header + LOCAL_HEADER_SIZE + lengthOf(member.name) + member.stored;
    before = member.name;
  }
  if (end > directoryOffset) throw corrupt(uri, `member ${before} ends at ${end}, past the central directory at ${directoryOffset}`);
}

/** What is legal, and yet worth a line: sums that were never computed, bytes that belong to no member. */
function oddities(members: readonly ArchiveMember[]): readonly Finding[] {
  const found: Finding[] = [];
  const unsummed = members.filter(({ crc32, size }) => crc32 === 0 && size > 0);
  if (unsummed[0] !== undefined)
    found.push({
      code: 'crc_not_computed',
      message: `${unsummed.length} members have a CRC-32 of 0, as torch writes it when told not to compute any: damage to them cannot be seen`,
      member: unsummed[0].name,
    });
  for (let index = 0; index < members.length; index++) {
    const member = members[index]!;
    const room = member.end - member.header - LOCAL_HEADER_SIZE - member.stored;
    if (room <= LARGEST_EXTRA + DESCRIPTOR64_SIZE) continue;
    const rest = room - Buffer.byteLength(member.name);
    if (rest > LARGEST_EXTRA + DESCRIPTOR64_SIZE)
      found.push({ code: 'archive_gap', message: `${rest} bytes behind it belong to no member`, member: member.name });
  }
  return found;
}
