/**
 * Reads of a TorchScript archive's code what its module tree needs: the members that declare the classes of its objects.
 *
 * Invariant: a class is sought where torch seeks it, in the member that its qualified name says, and nowhere else.
 */
import { CheckpointLoadError } from '../../errors.ts';
import type { ByteSource } from '../../model/byte-source.ts';
import type { ArchiveMember } from '../../model/header.ts';
import type { ValueNode } from '../../model/value.ts';
import { inflatesTooFar } from '../limits-pickle.ts';
import { isScripted } from '../pickle/globals.ts';
import { readMember } from '../zip/member.ts';
import { parseClasses, type DeclaredClasses, type ModuleClass } from './torchscript-classes.ts';

/** Bytes of all code that is read; traced modules of the largest detectors have some five million. */
const CODE_MAX = 32 * 2 ** 20;

/** The class of an object, by what its pickle calls it; null: no module. Throws `CheckpointLoadError` where nothing declares it. */
export type ClassOf = (module: string, name: string) => ModuleClass | null;

/** Reads the members that declare the classes of all objects among `nodes`; `root` is the archive's one folder. */
export async function readClasses(
  source: ByteSource,
  members: readonly ArchiveMember[],
  root: string,
  nodes: readonly ValueNode[],
): Promise<ClassOf> {
  const { uri } = source;
  const modules = new Set<string>();
  for (const node of nodes) if (typeof node === 'object' && node?.kind === 'object' && isScripted(node.module)) modules.add(node.module);
  const places = new Map(members.map((member) => [member.name, member]));
  const declared = new Map<string, DeclaredClasses>();
  let bytes = 0;
  for (const module of modules) {
    const member = places.get(codeMember(root, module));
    if (member === undefined) continue;
    bytes += member.size;
    const why = inflatesTooFar(member) ?? (bytes > CODE_MAX ? `its code has more than ${CODE_MAX} bytes` : undefined);
    if (why !== undefined)
      throw new CheckpointLoadError(`${uri}: the code member ${member.name} is not read, as ${why}.`, uri, {
        details: { member: member.name, stored: member.stored, size: member.size },
      });
    declared.set(module, parseClasses(textOf(await readMember(source, member, CODE_MAX), member.name, uri), member.name, uri));
  }
  return (module, name) => {
    const found = declared.get(module)?.get(name);
    if (found !== undefined) return found;
    const member = codeMember(root, module);
    throw new CheckpointLoadError(
      `${uri}: the class ${module}.${name} is not declared${declared.has(module) ? ` in ${member}` : `, as the archive has no ${member}`}, which says which of its attributes are parameters and buffers. Save the module again with torch.jit.save.`,
      uri,
      { details: { member, class: `${module}.${name}` } },
    );
  };
}

function textOf(bytes: Uint8Array, member: string, uri: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CheckpointLoadError(`${uri}: the code member ${member} is not UTF-8.`, uri, { cause });
  }
}

function codeMember(root: string, module: string): string {
  return `${root}code/${module.replaceAll('.', '/')}.py`;
}
