/** Floats as nodes of a value tree, which hold what JSON cannot by name. */
import type { ValueNode } from '../../model/value.ts';

export function floatNode(value: number): ValueNode {
  if (Number.isNaN(value)) return { kind: 'float', value: 'nan' };
  if (!Number.isFinite(value)) return { kind: 'float', value: value > 0 ? 'inf' : '-inf' };
  return { kind: 'float', value: Object.is(value, -0) ? '-0' : value };
}

export function isNumber(node: ValueNode | undefined): boolean {
  return typeof node === 'number' || (typeof node === 'object' && node !== null && node.kind === 'float');
}

export function numberOf(node: ValueNode | undefined): number {
  if (typeof node === 'number') return node;
  return typeof node === 'object' && node !== null && node.kind === 'float' ? floatOf(node.value) : Number.NaN;
}

export function floatOf(value: number | 'nan' | 'inf' | '-inf' | '-0'): number {
  switch (value) {
    case 'nan':
      return Number.NaN;
    case 'inf':
      return Infinity;
    case '-inf':
      return -Infinity;
    case '-0':
      return -0;
    default:
      return value;
  }
}
