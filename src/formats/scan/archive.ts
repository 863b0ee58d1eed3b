/**
 * A zip archive, member by member: names say what is a pickle, and no member is left out of the account.
 *
 * Invariant: of storages only the local headers are read, as no loader unpickles them and random bytes look like pickles.
 * Where the directory itself is not to be believed, every local header in the file is looked behind.
 */
import { constants, inflateRawSync } from 'node:zlib';
import type { ByteSource } from '../../model/byte-source.ts';
import type { ArchiveMember } from '../../model/header.ts';
import { inflatesTooFar, limitsOfStored, PICKLE_LIMITS, PICKLES_MAX } from '../limits-pickle.ts';
import { foreignContainer } from '../foreign-containers.ts';
import { readArchive, readUncheckedMembers } from '../zip/archive.ts';
import { readMember, strayBytes } from '../zip/member.ts';
import { asWholePickle, dangerousOf, scanPickles } from './pickles.ts';
import { isOfContent, type Tally } from './tally.ts';

/** Pickles of one archive that are read, as many as a reader takes; more are named. */
const PICKLES_READ = 10_000;
/** Members of unknown role are read up to this size; larger ones are named. */
const UNKNOWN_MAX = 64 * 2 ** 20;
/** Bytes of a file with a broken directory in which local headers are looked for, from its start and before its end. */
const SEARCHED = 32 * 2 ** 20;
/** Bytes looked through behind all of them, and behind one that does not give its size. */
const SEARCHED_BEHIND = 256 * 2 ** 20;
const UNSIZED = 2 ** 20;
const LOCAL_SIGNATURE = Buffer.from('PK\x03\x04', 'latin1');

const PICKLE_NAME = /\.(pkl|pickle|debug_pkl|p|joblib)$/i;
/** Under torch's one folder: raw storages, of TorchScript's constants too. */
const STORAGE_NAME = /^[^/]+\/(data|constants|tensors)\/\d+$/;
/** What torch writes beside them, by role: none of it is unpickled. */
const KNOWN_NAME = /^[^/]+\/(version|byteorder|\.format_version|\.storage_alignment|\.data\/serialization_id|code\/.*\.py|model\.json)$/;

export async function scanArchive(source: ByteSource, tally: Tally): Promise<void> {
  let members: readonly ArchiveMember[];
  let isBroken = false;
  try {
    const archive = await readArchive(source);
    for (const { code, message, member } of archive.findings) tally.note(code, message, member);
    members = archive.members;
  } catch (error) {
    if (!isOfContent(error)) throw error;
    tally.broken('broken_archive', error.message);
    members = await readUncheckedMembers(source).catch(noneOfContent);
    isBroken = true;
  }
  const used = new Set<string>();
  let roots = new Set<string>();
  const budget = budgetOf();
  for (const member of members) {
    roots = roots.add(member.name.split('/')[0] ?? '');
    try {
      for (const key of await scanMember(source, member, tally, budget)) used.add(key);
      await scanBehind(source, member, tally);
    } catch (error) {
      if (!isOfContent(error)) throw error;
      tally.broken('broken_member', error.message, member.name);
      isBroken = true;
    }
  }
  if (isBroken || tally.findings.some(({ code }) => code === 'unlisted_member')) await searchLocalHeaders(source, tally);
  if (roots.size > 1) tally.broken('several_roots', `members lie under ${[...roots].slice(0, 5).join(', ')}: torch allows one folder`);
  if (!members.some(({ name }) => /^[^/]+\/data\.pkl$/.test(name)))
    tally.broken('no_data_pkl', 'there is no <folder>/data.pkl: this is not an archive of torch');
  const idle = members.filter(({ name }) => /^[^/]+\/data\/\d+$/.test(name) && !used.has(name.slice(name.lastIndexOf('/') + 1)));
  if (idle[0] !== undefined) tally.note('unused_storage', `${idle.length} storages are named by no pickle`, idle[0].name);
  const code = members.filter(({ name }) => /^[^/]+\/code\//.test(name));
  if (code[0] !== undefined)
    tally.doubt('torchscript_code', `the archive holds a TorchScript program in ${code.length} files`, code[0].name);
}

function noneOfContent(error: unknown): readonly ArchiveMember[] {
  if (!isOfContent(error)) throw error;
  return [];
}

/**
 * Checks a member's local header, and what lies between it and the next member: there, a reader that goes by local headers finds
 * members that the directory does not list.
 */
async function scanBehind(source: ByteSource, member: ArchiveMember, tally: Tally): Promise<void> {
  const { offset, length } = await strayBytes(source, member);
  if (length <= 0) return;
  const bytes = Buffer.from(await source.read(offset, Math.min(length, SEARCHED)));
  if (bytes.includes(LOCAL_SIGNATURE))
    tally.broken('unlisted_member', `${length} bytes behind it hold a member that the directory does not list`, member.name);
}

/** What of an archive is still looked through: a small file can hold members that inflate to more than anybody waits for. */
interface Budget {
  /** Whether the member is; counts it. */
  readonly takes: (member: ArchiveMember, isPickle: boolean) => boolean;
}

function budgetOf(): Budget {
  let pickles = 0;
  let bytes = 0;
  return {
    takes({ size, method }, isPickle) {
      // What is not a pickle by its name and lies there as it is costs no more than what it brings.
      if (!isPickle && method === 'stored') return true;
      if (isPickle) pickles++;
      if (pickles > PICKLES_READ || bytes + size > PICKLES_MAX) return false;
      bytes += size;
      return true;
    },
  };
}

/** Gives the keys of the storages that the member names. */
async function scanMember(source: ByteSource, member: ArchiveMember, tally: Tally, budget: Budget): Promise<ReadonlySet<string>> {
  const { name } = member;
  const none: ReadonlySet<string> = new Set();
  if (PICKLE_NAME.test(name)) {
    if (!budget.takes(member, true)) {
      tally.broken('unread_pickle', `of an archive at most ${PICKLES_READ} pickles of ${PICKLES_MAX} bytes together are read`, name);
      return none;
    }
    const why = inflatesTooFar(member);
    if (why !== undefined) {
      tally.broken('unread_pickle', why, name);
      return none;
    }
    return scanPickles(await readMember(source, member, PICKLE_LIMITS.bytes), name, tally, limitsOfStored(member)).storages;
  }
  if (name.endsWith('/') && member.size === 0) return none;
  if (STORAGE_NAME.test(name) && member.method === 'deflated' && member.size <= UNKNOWN_MAX) {
    await readMember(source, member, UNKNOWN_MAX);
    return none;
  }
  if (STORAGE_NAME.test(name)) return none;
  if (member.size > UNKNOWN_MAX) {
    tally.doubt('unread_member', `a member of unknown role has ${member.size} bytes, at most ${UNKNOWN_MAX} are looked through`, name);
    return none;
  }
  if (!budget.takes(member, false)) {
    tally.doubt(
      'unread_member',
      `deflated members and pickles have more than ${PICKLES_MAX} bytes together, which are not all looked through`,
      name,
    );
    return none;
  }
  const bytes = await readMember(source, member, UNKNOWN_MAX);
  // Of hundreds of thousands of empty ones none is worth the error that no pickle is.
  if (KNOWN_NAME.test(name) || bytes.length === 0) return none;
  const container = foreignContainer(bytes)?.is;
  if (container !== undefined && !/(^|\/)anemoi-metadata\//.test(name))
    tally.broken('nested_container', `it is ${container}, which is not opened here`, name);
  else if (container === 'a NumPy array' && /'descr': '\|O'/.test(Buffer.from(bytes.subarray(0, 512)).toString('latin1')))
    tally.broken('object_array', 'a NumPy array of objects is a pickle', name);
  const { whole, excess, globals } = asWholePickle(bytes, name, tally.uri, limitsOfStored(member));
  if (whole && bytes.length > 1 && bytes[0] === 0x80)
    tally.doubt('pickle_by_content', 'by its bytes it is a pickle, whatever its name says', name);
  if (excess !== undefined) tally.doubt('unread_member', `by its bytes it may be a pickle, and ${excess}`, name);
  tally.addGlobals(whole ? globals : dangerousOf(globals));
  return none;
}

/** Looks behind every local header of a pickle: other readers find members by them. */
async function searchLocalHeaders(source: ByteSource, tally: Tally): Promise<void> {
  const spans =
    source.size <= 2 * SEARCHED
      ? [[0, source.size]]
      : [
          [0, SEARCHED],
          [source.size - SEARCHED, SEARCHED],
        ];
  let left = SEARCHED_BEHIND;
  for (const [offset = 0, length = 0] of spans) {
    const bytes = Buffer.from(await source.read(offset, length));
    for (let at = bytes.indexOf(LOCAL_SIGNATURE); at !== -1 && at + 30 <= bytes.length; at = bytes.indexOf(LOCAL_SIGNATURE, at + 4)) {
      const nameEnd = at + 30 + bytes.readUInt16LE(at + 26);
      const name = bytes.subarray(at + 30, nameEnd).toString('utf8');
      const data = nameEnd + bytes.readUInt16LE(at + 28);
      const isPickle = PICKLE_NAME.test(name);
      // Of others only the beginning: a name that lies does not make a reader take megabytes for a pickle.
      const wanted = isPickle ? bytes.readUInt32LE(at + 18) || UNSIZED : 4096;
      const stored = bytes.subarray(data, Math.min(bytes.length, data + wanted));
      if ((left -= stored.length) < 0) return;
      const content = bytes.readUInt16LE(at + 8) === 8 ? inflated(stored, left) : stored;
      left -= content.length;
      const limits = limitsOfStored({ stored: stored.length, size: content.length });
      const { globals } = asWholePickle(content, `${name}@${offset + at}`, tally.uri, limits);
      tally.addGlobals(isPickle ? globals : dangerousOf(globals));
    }
  }
}

/** What inflates of a deflate stream that may end where other bytes begin; nothing where it is none. */
function inflated(bytes: Uint8Array, limit: number): Uint8Array {
  try {
    return inflateRawSync(bytes, { maxOutputLength: Math.max(1, Math.min(limit, UNKNOWN_MAX)), finishFlush: constants.Z_SYNC_FLUSH });
  } catch {
    return new Uint8Array(0);
  }
}
