/**
 * Values without parts: None, booleans, numbers, texts and bytes.
 *
 * Invariant: what comes very often (constants, small integers) is one node each, which is never dropped.
 */
import type { NodeId } from '../../model/value.ts';
import type { Surrogates } from './cursor.ts';
import type { Stack } from './stack.ts';
import type { Table } from './table.ts';
import { weigh } from './weight.ts';

/** Integers below this are one node each: sizes, strides and offsets are most of a checkpoint's values. */
const COMMON_INTEGERS = 1024;

export interface Scalars {
  readonly pushConstant: (value: null | boolean) => void;
  readonly pushInteger: (value: number | string) => void;
  readonly pushText: (text: string | Surrogates) => void;
  readonly pushBytes: (kind: 'bytes' | 'bytearray', data: Uint8Array) => void;
  /** Whether the value has its one node already. */
  readonly hasConstant: (value: null | boolean) => boolean;
  /** The same of an integer; also true of one that has no such node. */
  readonly hasInteger: (value: number) => boolean;
  /** What a new node of the integer would be charged, if it takes one. */
  readonly weightOfInteger: (value: number) => number;
}

export function openScalars({ add, keepAll }: Table, { push, pushId }: Stack): Scalars {
  const constants = new Map<null | boolean, NodeId>();
  const integers: NodeId[] = [];
  return {
    pushConstant: (value) => {
      let id = constants.get(value);
      if (id === undefined) {
        constants.set(value, (id = add(value)));
        keepAll();
      }
      pushId(id);
    },
    pushInteger: (value) => {
      if (typeof value === 'string') push({ kind: 'int', decimal: value });
      else if (value >= 0 && value < COMMON_INTEGERS) {
        let id = integers[value];
        if (id === undefined) {
          integers[value] = id = add(value);
          keepAll();
        }
        pushId(id);
      } else push(value);
    },
    pushText: (text) => {
      if (typeof text === 'string') push(text);
      else push({ kind: 'plain', class: 'str', value: add({ kind: 'bytes', base64: base64(text.wtf8) }) });
    },
    pushBytes: (kind, data) => push({ kind, base64: base64(data) }),
    hasConstant: (value) => constants.has(value),
    hasInteger: (value) => value >= COMMON_INTEGERS || integers[value] !== undefined,
    weightOfInteger: (value) => (value < COMMON_INTEGERS ? 0 : weigh(value)),
  };
}

function base64(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');
}
