/**
 * Names, calls of them, and states that objects are given: told as values, and judged.
 *
 * Invariant: nothing is called. A call is a value that a safe name is known to give, or an opaque object; every name is reported before
 * anything comes of it, and what could run code where the file is loaded is reported as dangerous.
 */
import type { GlobalName, NodeId, ValueNode, Verdict } from '../../model/value.ts';
import type { PickleLimits } from '../limits-pickle.ts';
import { borrow, isLender, isPartial, isPartialState } from './borrowed.ts';
import { plainCall } from './builtins.ts';
import { PickleSyntaxError, type Cursor } from './cursor.ts';
import type { Containers } from './containers.ts';
import { isFunction, isNestedClass, isScripted, judge, needsState, TORCH_DTYPES } from './globals.ts';
import type { PickleHost } from './host.ts';
import type { Stack } from './stack.ts';
import { opened, type Table } from './table.ts';
import { weigh, WEIGHTS, type Budget } from './weight.ts';

/** `getattr` or `partial`: its place in the report, and how often it was pushed for anything but a harmless call. */
export interface Lender {
  readonly use: number;
  pushed: number;
}

/** What a machine consists of, beside its calls. */
interface Parts {
  readonly cursor: Cursor;
  readonly table: Table;
  readonly stack: Stack;
  readonly containers: Containers;
  readonly budget: Budget;
  /** The lenders named so far, by their nodes. */
  readonly lenders: Map<NodeId, Lender>;
  /** What they gave, and other attributes of classes: never to be called. */
  readonly borrowed: Set<NodeId>;
}

export interface Calls {
  readonly pushGlobal: (module: string, name: string) => void;
  /** Pushes what a call gives. `isNew`: of `__new__`, which functions do not have. */
  readonly call: (callee: NodeId, args: NodeId, isNew: boolean, kwargs?: NodeId) => void;
  /** The same of a class with arguments that are not a tuple yet. */
  readonly instantiate: (callee: NodeId, args: readonly NodeId[]) => void;
  /** The same with keyword arguments. */
  readonly callWithKeywords: (callee: NodeId, args: NodeId, kwargs: NodeId) => void;
  /** Gives the value on top of the stack a state. */
  readonly build: (state: NodeId) => void;
  /** Whether the value is the global that builds tensors, as it was named last. */
  readonly isTensorBuilder: (id: NodeId | undefined) => boolean;
  /** At the end of the pickle: no object may still want its state, and lenders of which nothing came but harmless calls are not danger. */
  readonly finish: () => void;
}

export function openCalls(
  { cursor, table, stack, containers, budget: { charge }, lenders, borrowed }: Parts,
  host: PickleHost,
  member: string,
  limits: PickleLimits,
): Calls {
  const { nodes, add, look, keepAll } = table;
  const { push, pushId, top } = stack;
  const fail: Cursor['fail'] = cursor.fail;
  /** Whether a global may be called, by its node. */
  const callable = new Map<NodeId, boolean>();
  /** Objects made, but not yet given the state without which they are no more than raw memory where the file is loaded; and where. */
  const unfinished = new Map<NodeId, number>();
  /** How many entries of a dict have been seen to have texts as keys: one may be handed to very many calls, and grow in between. */
  const keywords = new Map<object, number>();
  let tensorBuilder: NodeId = -1;

  const report = (module: string, name: string, verdict: Verdict): void => {
    if (host.globals.length >= limits.globals) fail(`more than ${limits.globals} globals`);
    host.globals.push({ module, name, verdict, member, position: cursor.opcodeAt });
  };
  const pushBorrowed = (node: ValueNode): void => {
    push(node);
    keepAll();
    charge(WEIGHTS.memo);
    borrowed.add(top());
  };
  const pushGlobal = (module: string, name: string): void => {
    const verdict = judge(module, name);
    report(module, name, verdict);
    if (name.includes('.') && !isNestedClass(name)) return pushBorrowed({ kind: 'global', module, name });
    if (module === 'torch' && Object.hasOwn(TORCH_DTYPES, name)) push({ kind: 'plain', class: 'torch.dtype', value: add(name) });
    else push({ kind: 'global', module, name });
    if (module === 'torch._utils' && name === '_rebuild_tensor_v2' && verdict === 'safe') tensorBuilder = top();
    if (isLender(module, name)) {
      charge(WEIGHTS.memo);
      lenders.set(top(), { use: host.globals.length - 1, pushed: 1 });
    }
    keepAll();
  };

  /** Pushes what a harmless call of a lender gives; false: it is none. */
  const pushLent = (callee: NodeId, name: string, args: NodeId): boolean => {
    const lender = lenders.get(callee);
    const found = lender === undefined ? undefined : borrow(nodes, name, args);
    if (lender === undefined || found === undefined) return false;
    lender.pushed--;
    if (found.named !== undefined) report(found.named.module, found.named.name, 'unknown');
    if (found.node.kind !== 'global' || !isNestedClass(found.node.name)) pushBorrowed(found.node);
    else {
      push(found.node);
      keepAll();
    }
    return true;
  };
  /** torch's own functions call what they are given, too. */
  const isBorrowedCalled = (callee: NodeId, { module, name }: GlobalName, args: readonly NodeId[]): boolean =>
    borrowed.has(callee) || (borrowed.size > 0 && isFunction(module, name) && args.some((item) => borrowed.has(item)));
  const isSafe = (callee: NodeId, { module, name }: GlobalName): boolean => {
    let known = callable.get(callee);
    if (known === undefined) callable.set(callee, (known = judge(module, name) === 'safe'));
    return known;
  };
  /** Pushes the value that a call of a safe global is known to give; false: there is none. */
  const pushMade = ({ module, name }: GlobalName, args: NodeId, items: readonly NodeId[]): boolean => {
    const made = plainCall(table, fail, module, name, items) ?? host.call?.(module, name, items, cursor.opcodeAt);
    if (made === undefined) return false;
    if (typeof made === 'number') pushId(made);
    else if (typeof made !== 'object' || made === null) push(made);
    // What is copied is charged as a copy: of items that are equal only one stays.
    else if (made.kind === 'set' || made.kind === 'frozenset') {
      charge(WEIGHTS.growing * made.items.length);
      containers.pushSet(made.kind, made.items);
    } else if (made.kind === 'dict') {
      charge(WEIGHTS.object * made.entries.length);
      push({ ...made, entries: [] });
      containers.setItems(made.entries.flat());
    } else {
      // A tensor without attributes refers to no node: what was made for its arguments alone goes again, nine tenths of a checkpoint's values.
      if (made.kind === 'tensor' && made.attributes === undefined) table.dropTuple(args);
      push(made);
    }
    return true;
  };
  const call = (callee: NodeId, args: NodeId, isNew: boolean, kwargs?: NodeId): void => {
    const target = look(callee);
    const given = look(args);
    if (target.kind !== 'global') return fail(`a call of something that is not a global (${target.kind})`);
    const { module, name } = target;
    if (given.kind !== 'tuple') {
      // Of a member of an enum, torch's `Pickler` gives the value by itself.
      if (!isNew && isScripted(module)) return call(callee, add({ kind: 'tuple', items: [args] }), false);
      return fail(`call arguments that are not a tuple (${given.kind})`);
    }
    if (!isNew && pushLent(callee, name, args)) return;
    if (isBorrowedCalled(callee, target, given.items)) report(module, name, 'dangerous');
    if (isNew && isFunction(module, name)) return fail(`a new object of ${module}.${name}, which is a function`);
    if (kwargs === undefined && isSafe(callee, target) && pushMade(target, args, given.items)) return;
    push({ kind: 'object', module, name, args, ...(kwargs === undefined ? {} : { kwargs }) });
    keepAll();
    if (needsState(module, name, isNew)) unfinished.set(top(), cursor.opcodeAt);
  };

  const checkKeywords = (entries: readonly (readonly [NodeId, NodeId])[]): void => {
    const checked = keywords.get(entries) ?? 0;
    // A key that is set again stays what it was.
    for (let at = checked; at < entries.length; at++) if (typeof nodes[entries[at]![0]] !== 'string') fail('a keyword that is not text');
    if (checked === entries.length) return;
    if (checked === 0) charge(WEIGHTS.memo);
    keywords.set(entries, entries.length);
  };

  return {
    pushGlobal,
    call,
    instantiate: (callee, args) => call(callee, add({ kind: 'tuple', items: args }), false),
    callWithKeywords: (callee, args, kwargs) => {
      const named = look(kwargs);
      if (named.kind !== 'dict') return fail('keyword arguments that are not a dict');
      checkKeywords(named.entries);
      call(callee, args, true, named.entries.length === 0 ? undefined : kwargs);
    },
    build: (state) => {
      const target = top();
      keepAll();
      const node = look(target);
      const made = host.build?.(target, state, cursor.opcodeAt);
      if (made !== undefined) {
        charge(weigh(made));
        nodes[target] = made;
        unfinished.delete(target);
      } else if (node.kind === 'object') {
        if (isPartial(node) && !isPartialState(nodes, state)) report(node.module, node.name, 'dangerous');
        opened(node)['state'] = state;
        unfinished.delete(target);
      } else if (node.kind === 'dict') {
        if (node.class === undefined || look(state).kind !== 'dict') fail('a state set on a plain dict, or one that is not a dict');
        opened(node)['attributes'] = state;
      } else fail(`a state set on a ${node.kind}`);
    },
    isTensorBuilder: (id) => id === tensorBuilder && id >= 0,
    finish: () => {
      for (const [object, position] of unfinished) {
        const { module, name } = look(object) as GlobalName; // Only objects are put there.
        throw new PickleSyntaxError(`an object of ${module}.${name} that never gets its state`, position, true);
      }
      for (const { use, pushed } of lenders.values()) if (pushed === 0) host.globals[use] = { ...host.globals[use]!, verdict: 'unknown' };
    },
  };
}
