/**
 * Storages of torch behind persistent ids: one for each key, and parts of them, which torch calls views.
 *
 * Invariant: each has exactly the length that the container says, and is described in one way, however often.
 */
import { bytesPerElement, type Dtype } from '../../model/dtype.ts';
import type { Storage } from '../../model/header.ts';
import type { NodeId, ValueNode } from '../../model/value.ts';
import { PickleSyntaxError } from '../pickle/cursor.ts';
import { argumentsIn } from './arguments.ts';

/** Characters of a storage's key: torch writes numbers. */
const KEY_MOST = 1024;

export type Kind = Dtype | 'quantized';

const KINDS: Readonly<Record<string, Kind>> = {
  FloatStorage: 'F32',
  DoubleStorage: 'F64',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
  ComplexFloatStorage: 'C64',
  ComplexDoubleStorage: 'C128',
  // As torch reads it: bytes, until a tensor says more.
  UntypedStorage: 'U8',
  QInt8Storage: 'quantized',
  QUInt8Storage: 'quantized',
  QInt32Storage: 'quantized',
  QUInt4x2Storage: 'quantized',
  QUInt2x4Storage: 'quantized',
};
const QUANTIZED_BYTES: Readonly<Record<string, number>> = { QInt32Storage: 4 };

export interface StorageTable {
  readonly nodes: ValueNode[];
  readonly storages: Storage[];
  /** The bytes behind a storage key, a fresh object, or undefined where there are none. `described` is what the pickle says of them. */
  readonly locate: (key: string, described: DescribedStorage) => Pick<Storage, 'file' | 'location' | 'length' | 'byteOrder'> | undefined;
  /** Told of storages that are part of another, `offset` bytes into it, as torch before 0.4 wrote them; absent: refused. */
  readonly view?: (storage: number, root: number, offset: number) => void;
}

export interface DescribedStorage {
  readonly elements: number;
  /** Bytes of one element. */
  readonly size: number;
}

/** Storages by their indexes in the table. */
export interface TorchStorages {
  /** The one that a persistent id names. */
  readonly persistent: (id: NodeId, position: number) => number;
  /** The same, told apart: of `numel` elements. */
  readonly named: (type: NodeId, key: string, device: NodeId, numel: number, position: number) => number;
  readonly kindOf: (storage: number) => Kind | undefined;
}

/** What storages of a class of torch hold; undefined where torch has no such class. */
export function kindOfClass(name: string): Kind | undefined {
  return Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
}

/** Writes into `table`; all throw `PickleSyntaxError`. */
export function torchStorages(table: StorageTable): TorchStorages {
  const { nodes, storages } = table;
  const { object, tuple, count, text } = argumentsIn(nodes);
  const known = storageIndex();
  /** By storage. */
  const kinds: Kind[] = [];
  const lengths: number[] = [];
  /** By storage and kind. */
  const empties = new Map<string, number>();
  const parts = new Map<string, { id: number; root: number; offset: number; length: number }>();

  function persistent(id: NodeId, position: number): number {
    const node = object(id);
    if (node?.kind !== 'tuple' || (node.items.length !== 5 && node.items.length !== 6))
      throw new PickleSyntaxError('a persistent id that is not a tuple of 5 or 6 items', position);
    const [tag, type, keyId, location, numelId, view] = node.items;
    if (text(tag, 'the kind of a persistent id', position) !== 'storage')
      throw new PickleSyntaxError('a persistent id that is not a storage', position);
    const className = classOf(type, position);
    const key = keyOf(keyId, 'a storage key', position);
    const device = text(location, 'a storage location', position);
    const numel = count(numelId, 'the length of a storage', position);
    return storageAt(className, key, device, numel, view, position);
  }

  function classOf(type: NodeId | undefined, position: number): string {
    const global = object(type);
    if (
      global?.kind !== 'global' ||
      (global.module !== 'torch' && global.module !== 'torch.storage') ||
      kindOfClass(global.name) === undefined
    )
      throw new PickleSyntaxError('a storage of an unknown class', position);
    return global.name;
  }

  function keyOf(id: NodeId | undefined, what: string, position: number): string {
    const key = text(id, what, position);
    if (key.length > KEY_MOST) throw new PickleSyntaxError(`a storage key of ${key.length} characters, at most ${KEY_MOST}`, position);
    return key;
  }

  /** The storage of that key: the one that is known, or a new one. */
  function storageAt(className: string, key: string, device: string, numel: number, view: NodeId | undefined, position: number): number {
    const kind = KINDS[className] ?? 'U8';
    const before = known.get(key);
    if (before !== undefined) {
      // Of one without bytes torch lets tensors of several dtypes be saved, and gives each its own.
      if (lengths[before] !== numel || (kinds[before] !== kind && numel > 0)) throw twice('storage', key, position);
      const held = part(before, view, kind, numel, position);
      return held === before && kinds[before] !== kind ? emptyAs(before, kind) : held;
    }
    if (parts.has(key)) throw oneKey(key, position);
    const size = kind === 'quantized' ? (QUANTIZED_BYTES[className] ?? 1) : bytesPerElement(kind);
    const place = table.locate(key, { elements: numel, size });
    if (place === undefined) throw new PickleSyntaxError(`storage ${quoted(key)} is not in the file`, position);
    if (!Number.isSafeInteger(numel * size) || numel * size !== place.length)
      throw new PickleSyntaxError(`storage ${quoted(key)} has ${place.length} bytes, its description says ${numel * size}`, position);
    const index = storages.push(device === 'cpu' ? place : { ...place, device }) - 1;
    known.set(key, index);
    kinds[index] = kind;
    lengths[index] = numel;
    return part(index, view, kind, numel, position);
  }

  /** The same storage without bytes, as one of another kind. */
  function emptyAs(root: number, kind: Kind): number {
    const name = `${root} ${kind}`;
    const before = empties.get(name);
    if (before !== undefined) return before;
    const index = storages.push({ ...storages[root]! }) - 1;
    empties.set(name, index);
    kinds[index] = kind;
    table.view?.(index, root, 0);
    return index;
  }

  /** The part of a storage that a persistent id's `(key, offset, length)` names; `None` names all of it. */
  function part(root: number, view: NodeId | undefined, kind: Kind, numel: number, position: number): number {
    if (view === undefined || nodes[view] === null) return root;
    if (table.view === undefined) throw new PickleSyntaxError('a storage that is a view of another', position);
    const [keyId, offsetId, lengthId, more] = tuple(view, 'a storage view', position);
    const key = keyOf(keyId, 'the key of a storage view', position);
    const offset = count(offsetId, 'the offset of a storage view', position);
    const length = count(lengthId, 'the length of a storage view', position);
    if (more !== undefined || offset + length > numel)
      throw new PickleSyntaxError(`a storage view of ${length} elements from ${offset} in a storage of ${numel}`, position);
    if (known.get(key) !== undefined) throw oneKey(key, position);
    const before = parts.get(key);
    if (before !== undefined) {
      if (before.root !== root || before.offset !== offset || before.length !== length) throw twice('storage view', key, position);
      return before.id;
    }
    const whole = storages[root];
    if (whole === undefined) throw new PickleSyntaxError('a view of no storage', position);
    const size = numel === 0 ? 0 : whole.length / numel;
    const id = storages.push({ ...whole, length: length * size }) - 1;
    parts.set(key, { id, root, offset, length });
    kinds[id] = kind;
    table.view(id, root, offset * size);
    return id;
  }

  return {
    persistent,
    named: (type, key, device, numel, position) =>
      storageAt(classOf(type, position), key, text(device, 'a storage location', position), numel, undefined, position),
    kindOf: (storage) => kinds[storage],
  };
}

/** torch looks views and whole storages up in one dict: which of the two it takes depends on which comes first. */
function oneKey(key: string, position: number): PickleSyntaxError {
  return new PickleSyntaxError(`${quoted(key)} is the key of a storage and of a view of one`, position, true);
}

function twice(what: string, key: string, position: number): PickleSyntaxError {
  return new PickleSyntaxError(`${what} ${quoted(key)} is described twice, differently`, position);
}

function quoted(key: string): string {
  return JSON.stringify(key.slice(0, 40));
}

/** Storages by their keys. torch counts them from 0, so that most are found by number; all others by their text. */
function storageIndex(): { readonly get: (key: string) => number | undefined; readonly set: (key: string, storage: number) => void } {
  const counted: number[] = [];
  const named = new Map<string, number>();
  return {
    get: (key) => {
      const number = numberIn(key);
      return number >= 0 && number < counted.length ? counted[number] : named.size === 0 ? undefined : named.get(key);
    },
    set: (key, storage) => {
      if (numberIn(key) === counted.length) counted.push(storage);
      else named.set(key, storage);
    },
  };
}

/** A number as it is written out, of up to eight digits; -1 for any other text. */
function numberIn(key: string): number {
  if (key.length === 0 || key.length > 8 || (key.length > 1 && key.startsWith('0'))) return -1;
  let number = 0;
  for (let at = 0; at < key.length; at++) {
    const digit = key.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}
