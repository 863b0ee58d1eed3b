/**
 * torch's zip container (1.6 and later) → header: the pickle is read as data, tensor members are only located.
 *
 * Invariant: `data.pkl` and the directory are all that is read of a plain checkpoint; every other pickle in the archive is judged
 * too, and one dangerous name anywhere refuses the file.
 */
import { CheckpointLoadError, CheckpointValidationError, type JsonObject } from '../../errors.ts';
import { pin, type ByteSource } from '../../model/byte-source.ts';
import type { Header, Storage, Tensor } from '../../model/header.ts';
import type { GlobalUse, ValueNode } from '../../model/value.ts';
import { PICKLE_LIMITS } from '../limits-pickle.ts';
import { readPickle } from '../pickle/read.ts';
import { dataOffset, readMember, type Archive, type Member } from '../zip/archive.ts';
import { findStateDict } from './state-dict.ts';
import { torchHost } from './tensors.ts';

const METADATA_LIMIT = 64 * 2 ** 20;

/** Reads a torch zip archive; throws `CheckpointLoadError` for malformed and `CheckpointValidationError` for unsafe content. */
export async function readTorchZip(source: ByteSource, archive: Archive): Promise<Header> {
  const { uri } = source;
  const members = new Map(archive.members.map((member) => [member.name, member]));
  const mains = archive.members.filter(({ name }) => /(^|\/)data\.pkl$/i.test(name));
  const main = mains.find(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
  const globals: GlobalUse[] = [];
  // Others first: whatever else is wrong with the file, its dangerous names are what its owner must know.
  for (const member of archive.members) {
    if (member === main || !/\.pkl$/i.test(member.name)) continue;
    const bytes = await readMember(source, member, PICKLE_LIMITS.bytes);
    readPickle(bytes, { member: member.name, uri, host: { nodes: [], globals, persistent: () => null } });
  }
  if (main === undefined) {
    const names = archive.members.slice(0, 10).map(({ name }) => name);
    throw new CheckpointLoadError(
      `${uri} is a zip archive but no torch checkpoint: it has no <folder>/data.pkl among its ${members.size} members (${names.join(', ') || 'none'}).`,
      uri,
      { details: { members: names } },
    );
  }
  const root = main.name.slice(0, main.name.indexOf('/') + 1);
  const stray = archive.members.find(({ name }) => !name.startsWith(root));
  if (mains.length > 1 || stray !== undefined)
    throw new CheckpointValidationError(
      `${uri} has more than one root: ${main.name} and ${stray?.name ?? mains.at(-1)?.name}. Readers disagree on which one counts.`,
      ['several roots'],
    );
  // torch goes by local headers: one that says data.pkl behind another name would be what it loads. Those of storages are
  // checked where their bytes are read.
  for (const member of archive.members) if (!member.name.startsWith(`${root}data/`)) await dataOffset(source, member);
  const nodes: ValueNode[] = [];
  const storages: Storage[] = [];
  const tensors: Tensor[] = [];
  const bigEndian = await isBigEndian(source, members.get(`${root}byteorder`));
  const locate = (key: string): ReturnType<Parameters<typeof torchHost>[0]['locate']> => {
    const member = members.get(`${root}data/${key}`);
    if (member === undefined) return undefined;
    const { name, header, method, compressed: stored, crc32, flags, end, size: length } = member;
    return {
      file: 0,
      location: { kind: 'member', name, header, method, stored, crc32, flags, end },
      length,
      ...(bigEndian ? { byteOrder: 'big' as const } : {}),
    };
  };
  const pickle = await readMember(source, main, PICKLE_LIMITS.bytes);
  const host = torchHost({ nodes, storages, tensors, locate });
  const { root: top } = readPickle(pickle, { member: main.name, uri, host: { nodes, globals, ...host } });
  if (members.has(`${root}constants.pkl`) || archive.members.some(({ name }) => name.startsWith(`${root}code/`))) {
    throw new CheckpointValidationError(
      `${uri} is a TorchScript archive, which holds a program. Save model.state_dict() with torch.save instead.`,
      ['TorchScript'],
    );
  }
  const tree = { root: top, nodes };
  const found = findStateDict(tree, uri, globals);
  const anemoi = members.get(`${root}anemoi-metadata/anemoi.json`) ?? members.get(`${root}anemoi-metadata/ai-models.json`);
  const anemoiMetadata = anemoi === undefined ? undefined : await readJson(source, anemoi);
  return {
    ...found,
    container: 'zip',
    files: [pin(source)],
    storages,
    tensors,
    tree,
    metadata: {},
    globals,
    findings: archive.findings,
    ...(anemoiMetadata === undefined ? {} : { anemoiMetadata }),
  };
}

async function isBigEndian(source: ByteSource, member: Member | undefined): Promise<boolean> {
  if (member === undefined) return false;
  const text = Buffer.from(await readMember(source, member, 64)).toString('latin1');
  if (text !== 'little' && text !== 'big')
    throw new CheckpointLoadError(`${source.uri}: ${member.name} says ${JSON.stringify(text)}, expected little or big.`, source.uri);
  return text === 'big';
}

async function readJson(source: ByteSource, member: Member): Promise<JsonObject> {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(await readMember(source, member, METADATA_LIMIT)));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject; // JSON.parse gives JSON.
  } catch (cause) {
    if (!(cause instanceof SyntaxError) && !(cause instanceof TypeError)) throw cause;
    throw new CheckpointLoadError(`${source.uri}: ${member.name} is no JSON.`, source.uri, { cause });
  }
  throw new CheckpointLoadError(`${source.uri}: ${member.name} is no JSON object.`, source.uri);
}
