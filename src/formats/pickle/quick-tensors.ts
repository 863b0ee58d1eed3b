/**
 * The quick path for plain dense tensors, which are nearly all of a checkpoint: all opcodes of one are taken at once.
 *
 * Invariant: what comes of it, nodes, charges, reports and messages, is what the same opcodes would give one by one. Whatever could make
 * a difference is left to them.
 */
import type { Cursor } from './cursor.ts';
import type { PickleHost } from './host.ts';
import { FORGOTTEN, type Memo } from './memo.ts';
import { plainTensors } from './plain-tensor.ts';
import type { Scalars } from './scalars.ts';
import type { Stack } from './stack.ts';
import type { Table } from './table.ts';
import { weigh, WEIGHTS, type Budget } from './weight.ts';

/** What a machine consists of, as far as it is wanted here. */
interface Parts {
  readonly cursor: Cursor;
  readonly table: Table;
  readonly stack: Stack;
  readonly scalars: Scalars;
  readonly memo: Memo;
  readonly budget: Budget;
  /** Whether an entry of the memo is ever fetched. */
  readonly isRecalled: (index: number) => boolean;
}

/** Values on the stack when the last argument is called for: the builder, five arguments, the class of the hooks, its empty tuple. */
const VALUES = 8;
/** Those below the numbers of a stride, as far as they stand there one by one: the builder, storage, offset and sizes. */
const BELOW_NUMBERS = 4;
/** Marks that are open while the storage is named: its own, and the one of the arguments. */
const MARKS = 2;

/**
 * Pushes the tensor whose opcodes follow the one that fetches its builder, and consumes them; false, with nothing changed, if they are
 * not of the plain form.
 */
export function quickTensors(
  bytes: Uint8Array,
  { cursor, table: { nodes, look }, stack, scalars, memo, budget, isRecalled }: Parts,
  { tensor }: PickleHost,
): () => boolean {
  if (tensor === undefined) return () => false;
  const plainTensor = plainTensors(bytes);
  const { hasInteger, weightOfInteger } = scalars;
  const addWeight = (sum: number, value: number): number => sum + weightOfInteger(value);
  return () => {
    if (cursor.isInFrame()) return false;
    const found = plainTensor(cursor.position);
    if (found === undefined) return false;
    const { key, numel, offset, sizes, stride, firstStored, stored, persistentAt, callAt, end } = found;
    const type = memo.get(found.type) ?? FORGOTTEN;
    const device = memo.get(found.device) ?? FORGOTTEN;
    const hooks = look(memo.get(found.hooks) ?? FORGOTTEN);
    if (nodes[memo.get(found.kind) ?? FORGOTTEN] !== 'storage' || type === FORGOTTEN || device === FORGOTTEN) return false;
    if (hooks.kind !== 'global' || hooks.module !== 'collections' || hooks.name !== 'OrderedDict') return false;
    // A number or constant that would get its one node here keeps it, while all other nodes go with their tensor.
    if (!hasInteger(numel) || !hasInteger(offset) || !sizes.every(hasInteger) || !stride.every(hasInteger)) return false;
    if (!scalars.hasConstant(false)) return false;
    for (let entry = firstStored; entry < firstStored + stored; entry++) if (isRecalled(entry)) return false;
    const values = Math.max(VALUES, BELOW_NUMBERS + sizes.length, BELOW_NUMBERS + stride.length);
    const cost =
      weigh(key) +
      weightOfInteger(numel) +
      weightOfInteger(offset) +
      stride.reduce(addWeight, sizes.reduce(addWeight, 0)) +
      // The storage and the tensor; the tuples of both, of sizes and stride, and of the hooks; the hooks.
      2 * WEIGHTS.object +
      6 * (WEIGHTS.object + WEIGHTS.list) +
      (5 + sizes.length + stride.length + 6) * WEIGHTS.slot +
      stored * WEIGHTS.memo +
      stack.costOf(values, MARKS);
    if (!budget.affords(cost) || !memo.append(firstStored, stored, FORGOTTEN)) return false;
    budget.charge(cost);
    stack.reach(values, MARKS);
    stack.pushId(nodes.push(tensor({ type, key, device, numel, offset, sizes, stride, persistentAt, callAt })) - 1);
    cursor.position = end;
    return true;
  };
}
