/**
 * Every pickle in a run of bytes: its names, whether it is sound, and what it carries inside.
 *
 * Invariant: goes on after a broken pickle and after STOP, so nothing behind either is unread.
 */
import type { GlobalUse, NodeId, ValueNode } from '../../model/value.ts';
import type { PickleLimits } from '../limits-pickle.ts';
import { PickleLimitError } from '../pickle/cursor.ts';
import { tryPickle } from '../pickle/read.ts';
import type { Tally } from './tally.ts';

/** Pickles looked for inside one pickle's strings, and the bytes of each. */
const NESTED_MAX = 1_000;
const NESTED_BYTES = 16 * 2 ** 20;

export interface Scanned {
  readonly nodes: readonly ValueNode[];
  /** Absent where the pickle broke. */
  readonly root?: NodeId;
  /** Just behind STOP; the end of the bytes where the pickle broke, as all of them were looked through. */
  readonly end: number;
  /** Keys of the storages that its persistent ids name. */
  readonly storages: ReadonlySet<string>;
}

/** Scans one pickle; what follows it is the caller's business. `limits`: others than those of bytes that are stored as they are. */
export function scanPickle(bytes: Uint8Array, member: string, tally: Tally, start = 0, limits?: PickleLimits): Scanned {
  const nodes: ValueNode[] = [];
  const storages = new Set<string>();
  const persistent = (id: NodeId): ValueNode => {
    const tuple = nodes[id];
    const [tag, type, key] = typeof tuple === 'object' && tuple?.kind === 'tuple' ? tuple.items.map((item) => nodes[item]) : [];
    if (typeof key === 'string' && tag === 'storage') storages.add(key);
    // torch before 1.6 wraps the class of a whole module into one, together with its source.
    return tag === 'module' && typeof type === 'object' && type?.kind === 'global' ? type : null;
  };
  const options = {
    member,
    uri: tally.uri,
    start,
    more: true,
    ...(limits && { limits }),
    host: { nodes, globals: tally.globals, persistent },
  };
  const { result, failure } = tryPickle(bytes, options);
  if (failure !== undefined) tally.broken('malformed_pickle', (failure as Error).message, member);
  scanNested(nodes, member, tally, limits);
  if (result === undefined) return { nodes, end: bytes.length, storages };
  return { nodes, root: result.root, end: start + result.consumed, storages };
}

/** Scans bytes that should be one pickle; further ones behind it are read too, and refused for being there. */
export function scanPickles(bytes: Uint8Array, member: string, tally: Tally, limits?: PickleLimits): Scanned {
  const first = scanPickle(bytes, member, tally, 0, limits);
  let at = first.end;
  if (at < bytes.length) tally.broken('bytes_after_stop', `${bytes.length - at} bytes follow the end of the pickle`, member);
  for (let more = 1; at < bytes.length && more < NESTED_MAX; more++) at = scanPickle(bytes, `${member}+${more}`, tally, at, limits).end;
  return first;
}

/** Whether bytes are one whole pickle, with what it names. `excess`: what of it is too much to be read, though it may be one. */
export function asWholePickle(
  bytes: Uint8Array,
  member: string,
  uri: string,
  limits?: PickleLimits,
): { readonly whole: boolean; readonly excess?: string; readonly globals: readonly GlobalUse[] } {
  const globals: GlobalUse[] = [];
  const host = { nodes: [], globals, persistent: () => null };
  const { result, failure } = tryPickle(bytes, { member, uri, more: true, ...(limits && { limits }), host });
  const excess = failure instanceof PickleLimitError ? { excess: failure.message } : {};
  return { whole: failure === undefined && result?.consumed === bytes.length, ...excess, globals };
}

/** Dangerous names among what bytes give that may be no pickle at all: text makes odd names of its lines. */
export function dangerousOf(globals: readonly GlobalUse[]): readonly GlobalUse[] {
  const isPlain = (text: string): boolean => /^[A-Za-z_][\w.]*$/.test(text);
  return globals.filter(({ verdict, module, name }) => verdict === 'dangerous' && isPlain(module) && isPlain(name));
}

/** Bytes are data, and nothing here unpickles them; a pickle among them that names dangerous things is worth knowing of. */
function scanNested(nodes: readonly ValueNode[], member: string, tally: Tally, limits?: PickleLimits): void {
  let looked = 0;
  for (const node of nodes) {
    const bytes = bytesOf(node);
    if (bytes === undefined || looked++ >= NESTED_MAX) continue;
    const { globals } = asWholePickle(bytes, member, tally.uri, limits);
    const names = dangerousOf(globals).map(({ module, name }) => `${module}.${name}`);
    if (names.length > 0)
      tally.doubt(
        'nested_pickle',
        `a string holds a pickle that names ${[...new Set(names)].slice(0, 10).join(', ')}; nothing here reads it`,
        member,
      );
  }
}

/** Bytes that begin as a pickle does, or text that ends as one of protocol 0 does. */
function bytesOf(node: ValueNode): Buffer | undefined {
  if (typeof node === 'string') {
    const isPickle =
      node.length < NESTED_BYTES && /\.\s*$/.test(node.slice(-4)) && /[ci][A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n/.test(node.slice(0, 65_536));
    return isPickle ? Buffer.from(node, 'latin1') : undefined;
  }
  if (typeof node !== 'object' || node === null || (node.kind !== 'bytes' && node.kind !== 'bytearray')) return undefined;
  if (node.base64.length < 8 || node.base64.length > NESTED_BYTES) return undefined;
  const bytes = Buffer.from(node.base64, 'base64');
  const isPickle = (bytes[0] === 0x80 && (bytes[1] ?? 6) <= 5) || bytes.at(-1) === 0x2e;
  return isPickle ? bytes : undefined;
}
