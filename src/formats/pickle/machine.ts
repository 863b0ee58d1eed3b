/**
 * A pickle machine that builds a table of nodes and nothing else: what the opcodes work on, and what they do.
 *
 * Invariant: strict where CPython's unpickler is, and stricter where two readers could disagree. All of a machine's parts draw on one
 * budget of memory.
 */
import type { NodeId } from '../../model/value.ts';
import { pickleMemory, type PickleLimits } from '../limits-pickle.ts';
import { openCalls, type Calls, type Lender } from './calls.ts';
import { openContainers, type Containers } from './containers.ts';
import { openCursor, type Cursor } from './cursor.ts';
import type { PickleHost } from './host.ts';
import { FORGOTTEN, openMemo } from './memo.ts';
import { quickTensors } from './quick-tensors.ts';
import { recallsOf } from './recalls.ts';
import { openScalars, type Scalars } from './scalars.ts';
import { openStack, type Stack } from './stack.ts';
import { openTable } from './table.ts';
import { openBudget, WEIGHTS } from './weight.ts';

export interface Pickle {
  /** The bytes in which it stands, and where it starts. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly host: PickleHost;
  /** Names the pickle in `GlobalUse.member`. */
  readonly member: string;
  readonly limits: PickleLimits;
}

export interface Machine {
  readonly cursor: Cursor;
  readonly stack: Stack;
  readonly scalars: Scalars;
  readonly containers: Containers;
  readonly calls: Calls;
  /** Pushes a tuple of what stands above the innermost mark. */
  readonly markedTuple: () => void;
  /** Pushes the global that the two texts on top of the stack name. */
  readonly stackGlobal: () => void;
  /** Pushes the value of the persistent id on top of the stack. */
  readonly persistent: () => void;
  /** Stores what is on top of the stack as an entry of the memo. */
  readonly store: (index: number) => void;
  /** The same as the next entry. */
  readonly memoize: () => void;
  /** Pushes an entry of the memo. */
  readonly recall: (index: number) => void;
  /** The same; where it fetches the builder of tensors, and a plain tensor follows, that one instead, with all of its opcodes. */
  readonly recallOrTensor: (index: number) => void;
  /** The value of the pickle, which ends here. */
  readonly stop: () => { readonly id: NodeId; readonly end: number };
}

export function openMachine({ bytes, start, host, member, limits }: Pickle): Machine {
  const cursor = openCursor(bytes, start, limits);
  const fail: Cursor['fail'] = cursor.fail;
  const budget = openBudget(pickleMemory(bytes.length, limits), 2 * bytes.length, () => cursor.opcodeAt);
  const table = openTable(host.nodes, budget);
  const { nodes, keepAll } = table;
  const lenders = new Map<NodeId, Lender>();
  const borrowed = new Set<NodeId>();
  const stack = openStack(table, budget, fail, lenders);
  const { push, pushId, pop, top } = stack;
  const scalars = openScalars(table, stack);
  const containers = openContainers(table, stack, budget, fail, borrowed);
  const calls = openCalls({ cursor, table, stack, containers, budget, lenders, borrowed }, host, member, limits);
  const memo = openMemo();
  const isRecalled = recallsOf(bytes, start);
  const pushTensor = quickTensors(bytes, { cursor, table, stack, scalars, memo, budget, isRecalled }, host);

  const store = (index: number): void => {
    const isKept = isRecalled(index);
    if (isKept) keepAll();
    const id = top();
    if (memo.set(index, isKept ? id : FORGOTTEN)) budget.charge(WEIGHTS.memo);
  };
  const recall = (index: number): void => {
    const id = memo.get(index);
    pushId(id === undefined || id === FORGOTTEN ? fail(`memo entry ${index} was never stored`) : id);
  };
  return {
    cursor,
    stack,
    scalars,
    containers,
    calls,
    markedTuple: () => {
      push({ kind: 'tuple', items: stack.popMark() });
      table.tupleMade(top(), stack.markedAt());
    },
    stackGlobal: () => {
      const name = nodes[pop()];
      const module = nodes[pop()];
      if (typeof name !== 'string' || typeof module !== 'string') return fail('STACK_GLOBAL without two strings');
      calls.pushGlobal(module, name);
      // Texts of the memo are named again without being written again, and names are gone through each time.
      if (module.length + name.length > limits.line) fail(`a global whose name has ${module.length + name.length} characters`);
    },
    persistent: () => {
      const id = pop();
      if (host.persistent === undefined) return fail('a persistent id where none is expected');
      push(host.persistent(id, cursor.opcodeAt));
    },
    store,
    memoize: () => store(memo.size()),
    recall,
    recallOrTensor: (index) => {
      if (!calls.isTensorBuilder(memo.get(index)) || !pushTensor()) recall(index);
    },
    stop: () => {
      const id = pop();
      if (!stack.isEmpty()) fail('values are left on the stack at STOP');
      calls.finish();
      return { id, end: cursor.position };
    },
  };
}
