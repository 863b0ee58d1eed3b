/**
 * torch's zip container (1.6 and later) → header: the pickle is read as data, tensor members are only located.
 *
 * Invariant: `data.pkl` and the directory are all that is read of a plain checkpoint; every other pickle in the archive is judged
 * too, and one dangerous name anywhere refuses the file.
 */
import { CheckpointLoadError, CheckpointValidationError } from '../../errors.ts';
import { pin, type ByteSource } from '../../model/byte-source.ts';
import type { ArchiveMember, Attachment, Finding, Header, Storage, Tensor } from '../../model/header.ts';
import type { GlobalUse, ValueNode, ValueTree } from '../../model/value.ts';
import { inflatesTooFar, limitsOfStored, PICKLE_LIMITS, PICKLES_MAX } from '../limits-pickle.ts';
import { readPickle } from '../pickle/read.ts';
import type { Archive } from '../zip/archive.ts';
import { dataOffset } from '../zip/local-header.ts';
import { readMember } from '../zip/member.ts';
import { readAnemoiMetadata } from './anemoi-metadata.ts';
import { findStateDict, type StateDict } from './state-dict.ts';
import { torchHost } from './tensors.ts';
import { readClasses } from './torchscript-code.ts';
import { findModuleWeights } from './torchscript.ts';

/** Members beside the storages, and pickles wherever they lie: each costs a look at its local header. TorchScript of large models has some hundreds. */
const OTHERS_MAX = 10_000;

/** What torch writes beside the storages: some bytes each, read whole so that their sums are compared. */
const SMALL_NAME = /^(version|byteorder|\.format_version|\.storage_alignment|\.data\/(version|serialization_id))$/;
const SMALL = 1024;

/** How torch 1.0 to 1.3 described a module. torch still looks for it first. */
const OLD_SCRIPT = /^[^/]+\/model\.json$/i;

/** What an archive's pickle describes. */
export interface TorchObject {
  readonly tree: ValueTree;
  readonly storages: readonly Storage[];
  readonly tensors: readonly Tensor[];
  readonly globals: readonly GlobalUse[];
  /** The archive's one folder, with its slash. */
  readonly root: string;
  /** Members beside its storages. */
  readonly others: readonly ArchiveMember[];
}

/** Reads a torch zip archive; throws `CheckpointLoadError` for malformed and `CheckpointValidationError` for unsafe content. */
export async function readTorchZip(source: ByteSource, archive: Archive, stateDictKey?: string): Promise<Header> {
  const { uri } = source;
  const { root, tree, storages, tensors, globals, others } = await readTorchObject(source, archive);
  const names = others.map(({ name }) => name);
  const code = names.filter((name) => name.startsWith(`${root}code/`));
  const isScript = code.length > 0 || names.includes(`${root}constants.pkl`);
  if (isScript && names.some((name) => OLD_SCRIPT.test(name)))
    throw new CheckpointValidationError(
      `${uri} describes its TorchScript module twice, in data.pkl and in model.json. Readers disagree on which one counts.`,
      ['two descriptions'],
    );
  const { findings: scriptFindings = [], ...found }: StateDict & { readonly findings?: readonly Finding[] } = isScript
    ? findModuleWeights(tree, tensors, uri, await readClasses(source, others, root, tree.nodes), {
        code,
        constants: names.filter((name) => name.startsWith(`${root}constants/`)).length,
      })
    : findStateDict(tree, tensors, uri, globals, stateDictKey);
  const extra = await readAnemoiMetadata(source, others, root);
  const carried: Storage[] = [];
  const attachments = extra.members.map(({ name, content }): Attachment =>
    typeof content === 'string' ? { name, text: content } : { name, storage: storages.length + carried.push(storageOf(content)) - 1 },
  );
  return {
    ...found,
    container: isScript ? 'torchscript' : 'zip',
    files: [pin(source)],
    storages: [...storages, ...carried],
    tensors,
    tree,
    metadata: {},
    globals,
    findings: [...archive.findings, ...scriptFindings],
    ...(extra.json === undefined ? {} : { anemoiMetadata: extra.json }),
    ...(attachments.length === 0 ? {} : { attachments }),
  };
}

/** Reads what `torch.save` put into an archive, whatever it is. */
export async function readTorchObject(source: ByteSource, archive: Archive): Promise<TorchObject> {
  const { uri } = source;
  const main = archive.members.find(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
  const root = main === undefined ? '' : main.name.slice(0, main.name.indexOf('/') + 1);
  // There may be very many storages: from here on nothing but what stands beside them is looked at, and what could be a pickle.
  const folder = `${root}data/`;
  const aside: ArchiveMember[] = [];
  const inside: ArchiveMember[] = [];
  for (let index = 0; index < archive.members.length; index++) {
    const member = archive.members[index]!;
    const isInside = member.name.startsWith(folder);
    if (isInside) inside.push(member);
    if (!isInside || isPickle(member.name)) aside.push(member);
  }
  const pickles = aside.filter((member) => member !== main && isPickle(member.name));
  checkPickles(uri, main === undefined ? pickles : [main, ...pickles]);
  const globals: GlobalUse[] = [];
  // The pickle first: read whole, it brings the small members behind it along. Others are judged before it, though: whatever
  // else is wrong with the file, its dangerous names are what its owner must know.
  const pickle = main === undefined ? undefined : await readMember(source, main, PICKLE_LIMITS.bytes);
  for (const member of pickles) {
    const bytes = await readMember(source, member, PICKLE_LIMITS.bytes);
    readPickle(bytes, { member: member.name, uri, limits: limitsOfStored(member), host: { nodes: [], globals, persistent: () => null } });
  }
  if (main === undefined || pickle === undefined) {
    const names = archive.members.slice(0, 10).map(({ name }) => name);
    const isOldScript = archive.members.some(({ name }) => OLD_SCRIPT.test(name));
    throw new CheckpointLoadError(
      isOldScript
        ? `${uri} is TorchScript of torch before 1.4, which describes its tensors in model.json: load and save it again, torch.jit.load(path).save(path).`
        : `${uri} is a zip archive but no torch checkpoint: it has no <folder>/data.pkl among its ${archive.members.length} members (${names.join(', ') || 'none'}).`,
      uri,
      { details: { members: names } },
    );
  }
  const mains = aside.filter(({ name }) => /(^|\/)data\.pkl$/i.test(name));
  const stray = aside.find(({ name }) => !name.startsWith(root));
  if (mains.length > 1 || stray !== undefined)
    throw new CheckpointValidationError(
      `${uri} has more than one root: ${main.name} and ${stray?.name ?? mains.at(-1)?.name}. Readers disagree on which one counts.`,
      ['several roots'],
    );
  // torch goes by local headers: one that says data.pkl behind another name would be what it loads. Those of storages are
  // checked where their bytes are read.
  const others = aside.filter(({ name }) => !name.startsWith(folder));
  if (others.length > OTHERS_MAX)
    throw new CheckpointLoadError(`${uri} has ${others.length} members beside its storages, at most ${OTHERS_MAX} are read.`, uri);
  for (const member of others)
    if (SMALL_NAME.test(member.name.slice(root.length))) await readMember(source, member, SMALL);
    else await dataOffset(source, member);
  const nodes: ValueNode[] = [];
  const storages: Storage[] = [];
  const tensors: Tensor[] = [];
  const bigEndian = await isBigEndian(
    source,
    others.find(({ name }) => name === `${root}byteorder`),
  );
  const find = membersIn(folder, inside);
  const locate = (key: string): ReturnType<Parameters<typeof torchHost>[0]['locate']> => {
    const member = find(key);
    if (member === undefined) return undefined;
    return bigEndian ? { ...storageOf(member), byteOrder: 'big' } : storageOf(member);
  };
  const host = torchHost({ nodes, storages, tensors, locate });
  const { root: top } = readPickle(pickle, { member: main.name, uri, limits: limitsOfStored(main), host: { nodes, globals, ...host } });
  return { tree: { root: top, nodes }, storages, tensors, globals, root, others };
}

/** Before any of them is read: each may be small, and all of them more than anybody waits for. */
function checkPickles(uri: string, pickles: readonly ArchiveMember[]): void {
  if (pickles.length > OTHERS_MAX)
    throw new CheckpointLoadError(`${uri} has ${pickles.length} pickles, at most ${OTHERS_MAX} are read.`, uri);
  const bytes = pickles.reduce((sum, { size }) => sum + size, 0);
  if (bytes > PICKLES_MAX)
    throw new CheckpointLoadError(
      `${uri} has ${pickles.length} pickles of ${bytes} bytes together, at most ${PICKLES_MAX} are read. Save the state dict by itself.`,
      uri,
    );
  for (const pickle of pickles) {
    const why = inflatesTooFar(pickle);
    if (why !== undefined)
      throw new CheckpointLoadError(`${uri}: the pickle ${pickle.name} is not read, as ${why}. Save the checkpoint again.`, uri, {
        details: { member: pickle.name, stored: pickle.stored, size: pickle.size },
      });
  }
}

/** Most names are told by their last letter. */
function isPickle(name: string): boolean {
  return (name.charCodeAt(name.length - 1) | 0x20) === 0x6c && /\.(debug_)?pkl$/i.test(name);
}

/** A folder's members by their names in it. Storages mostly lie in the order of their description: the one behind the last is looked at first. */
function membersIn(folder: string, members: readonly ArchiveMember[]): (name: string) => ArchiveMember | undefined {
  let places: ReadonlyMap<string, number> | undefined;
  let next = 0;
  return (name) => {
    let at: number | undefined = next;
    const likely = members[at]?.name;
    if (likely === undefined || likely.length !== folder.length + name.length || !likely.endsWith(name))
      at = (places ??= new Map(members.map((member, index) => [member.name, index]))).get(folder + name);
    if (at === undefined) return undefined;
    next = at + 1;
    return members[at];
  };
}

function storageOf(member: ArchiveMember): Storage {
  return { file: 0, location: member, length: member.size };
}

async function isBigEndian(source: ByteSource, member: ArchiveMember | undefined): Promise<boolean> {
  if (member === undefined) return false;
  const text = Buffer.from(await readMember(source, member, 64)).toString('latin1');
  if (text !== 'little' && text !== 'big')
    throw new CheckpointLoadError(`${source.uri}: ${member.name} says ${JSON.stringify(text)}, expected little or big.`, source.uri);
  return text === 'big';
}
