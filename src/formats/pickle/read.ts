/**
 * A pickle machine that builds a table of nodes and nothing else: no name is imported, nothing is called.
 *
 * Invariant: strict where CPython's unpickler is, and stricter where two readers could disagree (frames, what follows STOP).
 * One loop, explicit stack, so the depth of the input costs no stack of ours.
 */
import { CheckpointLoadError, CheckpointValidationError } from '../../errors.ts';
import type { GlobalName, GlobalUse, NodeId, ValueNode, Verdict } from '../../model/value.ts';
import { PICKLE_LIMITS, pickleMemory, type PickleLimits } from '../limits-pickle.ts';
import { borrow, isLender, isPartial, isPartialState } from './borrowed.ts';
import { plainCall, type Table } from './builtins.ts';
import { decodeText, openCursor, PickleLimitError, PickleSyntaxError, type Cursor, type Surrogates } from './cursor.ts';
import { checkExpansion } from './expansion.ts';
import { floatNode } from './float-node.ts';
import { isDangerousByModule, isFunction, isNestedClass, judge, needsState, TORCH_DTYPES } from './globals.ts';
import { decodeLong, parseDecimal } from './integers.ts';
import { keyPlaces } from './key-places.ts';
import { keyReader } from './keys.ts';
import { openMemo } from './memo.ts';
import { plainTensors } from './plain-tensor.ts';
import { recallsOf } from './recalls.ts';
import { sweep } from './sweep.ts';
import { rawUnicodeEscape, stringEscape } from './text.ts';
import { weigh, WEIGHTS } from './weight.ts';

/** What a pickle cannot say itself. Both throw `PickleSyntaxError` or a checkpoint error for what they refuse. */
export interface PickleHost {
  readonly nodes: ValueNode[];
  readonly globals: GlobalUse[];
  /** The value of a persistent id (BINPERSID); absent: refused. */
  readonly persistent?: (id: NodeId, position: number) => ValueNode;
  /** A call of a safe global that the builtins do not know; `undefined`: it stays an opaque object. */
  readonly call?: (module: string, name: string, args: readonly NodeId[], position: number) => ValueNode | NodeId | undefined;
  /** The tensor that `persistent` and a call of `_rebuild_tensor_v2` make, asked for at once; refuses what they refuse, and says the same. */
  readonly tensor?: (tensor: DenseTensor) => ValueNode;
  /** What a value becomes that is given a state; `undefined`: the rules of objects and dicts hold. */
  readonly build?: (target: NodeId, state: NodeId, position: number) => ValueNode | undefined;
}

/** A dense tensor of no gradient over a storage. */
export interface DenseTensor {
  /** The class of the storage. */
  readonly type: NodeId;
  readonly key: string;
  readonly device: NodeId;
  readonly numel: number;
  readonly offset: number;
  /** These two are the caller's own. */
  readonly sizes: readonly number[];
  readonly stride: readonly number[];
  /** Where the storage's persistent id stands, and the call. */
  readonly persistentAt: number;
  readonly callAt: number;
}

export interface PickleOptions {
  /** Names the pickle in messages and in `GlobalUse.member`. */
  readonly member: string;
  readonly uri: string;
  readonly host: PickleHost;
  readonly limits?: PickleLimits;
  /** Where the pickle starts; several follow one another in legacy files. */
  readonly start?: number;
  /** Whether bytes may follow STOP. */
  readonly more?: boolean;
}

/** Integers below this are one node each, however often they come: sizes, strides and offsets are most of a checkpoint's values. */
const COMMON_INTEGERS = 1024;
/** Of an entry of the memo that is never fetched. */
const FORGOTTEN = -1;
/** Bytes before a break that are looked through once more: the opcode that broke, and the operands of one behind it. */
const BEFORE_BREAK = 512;

export interface PickleOutcome {
  /** Absent where the pickle broke. */
  readonly result?: { readonly root: NodeId; readonly consumed: number };
  /** Why it is refused, dangerous names apart. */
  readonly failure?: unknown;
}

/** Reads one pickle into `host.nodes` and judges nothing: every name that it holds is in `host.globals`, also where it breaks. */
export function tryPickle(bytes: Uint8Array, options: PickleOptions): PickleOutcome {
  const limits = options.limits ?? PICKLE_LIMITS;
  const start = options.start ?? 0;
  let result: { root: NodeId; consumed: number } | undefined;
  let failure: unknown;
  try {
    if (bytes.length - start > limits.bytes && options.more !== true)
      throw new PickleLimitError(`${bytes.length - start} bytes, at most ${limits.bytes} are read`, start);
    const root = run(bytes, start, options, limits);
    checkExpansion(options.host.nodes, root.id, limits, root.end);
    result = { root: root.id, consumed: root.end - start };
    if (root.end !== bytes.length && options.more !== true) {
      // A second pickle in disguise: its names belong into the report.
      failure = new PickleSyntaxError(`${bytes.length - root.end} bytes follow STOP`, root.end, true);
      run(bytes, root.end, options, limits);
    }
  } catch (error) {
    failure ??= error;
    if (error instanceof PickleSyntaxError) sweepRest(bytes, Math.max(start, error.position - BEFORE_BREAK), options, limits);
  }
  return { ...(result === undefined ? {} : { result }), ...(failure === undefined ? {} : { failure }) };
}

/**
 * Reads one pickle into `host.nodes`. Throws `CheckpointValidationError` with every dangerous global in `details.globals`, else
 * `CheckpointLoadError` for malformed bytes.
 */
export function readPickle(bytes: Uint8Array, options: PickleOptions): { readonly root: NodeId; readonly consumed: number } {
  const from = options.host.globals.length;
  const { result, failure } = tryPickle(bytes, options);
  refuseDangerous(options.uri, options.host.globals.slice(from));
  if (failure === undefined && result !== undefined) return result;
  if (!(failure instanceof PickleSyntaxError)) throw failure;
  if (failure instanceof PickleLimitError)
    throw new CheckpointLoadError(
      `${options.uri}: the pickle ${options.member} is too large, at byte ${failure.position}: ${failure.message}. Save fewer tensors in one file, or as safetensors.`,
      options.uri,
      { cause: failure, details: { member: options.member, position: failure.position } },
    );
  const text = `${options.uri}: the pickle ${options.member} is malformed at byte ${failure.position}: ${failure.message}.`;
  if (failure.ambiguous)
    throw new CheckpointValidationError(`${text} No pickle writer does this; do not load the file.`, [failure.message], {
      cause: failure,
      details: { reason: 'unsafe', member: options.member, position: failure.position, globals: [] },
    });
  throw new CheckpointLoadError(`${text} Copy or save it again.`, options.uri, {
    cause: failure,
    details: { member: options.member, position: failure.position },
  });
}

/** A broken pickle may still be read by others: the names behind the break belong into the report. */
function sweepRest(bytes: Uint8Array, from: number, { host, member }: PickleOptions, limits: PickleLimits): void {
  const known = new Set(host.globals.filter((use) => use.member === member).map(({ position }) => position));
  for (const { module, name, position } of sweep(bytes, from, isDangerousByModule))
    if (!known.has(position) && host.globals.length < limits.globals)
      host.globals.push({ module, name, verdict: judge(module, name), member, position });
}

/** Throws one `CheckpointValidationError` that names every dangerous global among `globals`. */
export function refuseDangerous(uri: string, globals: readonly GlobalUse[]): void {
  const dangerous = globals.filter((use) => use.verdict === 'dangerous');
  if (dangerous.length === 0) return;
  const names = [...new Set(dangerous.map((use) => `${use.module}.${use.name}`))];
  const listed = dangerous
    .slice(0, 100)
    .map((use) => ({ module: use.module, name: use.name, verdict: use.verdict, member: use.member, position: use.position }));
  throw new CheckpointValidationError(
    `${uri} is unsafe: its pickle names ${names.slice(0, 20).join(', ')}, which could run code where the file is loaded. Nothing was executed here; do not load it elsewhere.`,
    names.slice(0, 100).map((name) => `dangerous global ${name}`),
    { details: { reason: 'unsafe', globals: listed } },
  );
}

type Open = { items?: NodeId[]; entries?: (readonly [NodeId, NodeId])[]; [other: string]: unknown };

/** The table's own nodes while they are still being filled: readonly for everyone else. */
function opened(value: object): Open {
  return value as Open;
}

function run(bytes: Uint8Array, start: number, options: PickleOptions, limits: PickleLimits): { id: NodeId; end: number } {
  const { host, member } = options;
  const nodes = host.nodes;
  const cursor: Cursor = openCursor(bytes, start, limits);
  const memo = openMemo();
  const isRecalled = recallsOf(bytes, start);
  const plainTensor = plainTensors(bytes);
  /** The global that builds tensors, as it was named last. */
  let builder: NodeId = -1;
  const constants = new Map<unknown, NodeId>();
  const integers: NodeId[] = [];
  /** Whether a global may be called, by its node. */
  const callable = new Map<NodeId, boolean>();
  /** Objects made, but not yet given the state without which they are no more than raw memory where the file is loaded. */
  const unfinished = new Map<NodeId, number>();
  /** `getattr` and `partial`, by their nodes: their places in the report, and how often each was pushed for anything but a harmless call. */
  const lenders = new Map<NodeId, { readonly use: number; pushed: number }>();
  /** What they gave, and other attributes of classes: never to be called. */
  const borrowed = new Set<NodeId>();
  const stack: NodeId[] = [];
  /** How many MARKs are open. */
  let open = 0;
  /** Heights of the stack at each open MARK; behind those, of earlier ones: a list that shrinks and grows again takes long. */
  const marks: number[] = [];
  /** Lengths of the table at each open MARK. */
  const lengths: number[] = [];
  /** Height of the innermost mark: nothing below it can be taken. */
  let floor = 0;
  /** Length of the table at the mark that was taken last. */
  let markedAt = 0;
  /** The last tuple that a mark opened, and `markedAt` of it: what was made for the tuple stands between the two. */
  let tuple = -1;
  let tupleFrom = 0;
  /** Nodes below this index may be referred to by the memo, by older nodes or by the tables above, so they must not be dropped. */
  let kept = nodes.length;
  const memory = pickleMemory(bytes.length, limits);
  let weight = 2 * bytes.length;
  let highest = 0;
  let deepest = 0;
  let at = start;
  const fail = (message: string): never => {
    throw new PickleSyntaxError(message, at);
  };
  const charge = (bytes: number): void => {
    weight += bytes;
    if (weight > memory) throw new PickleLimitError(`reading it would take more than ${memory} bytes of memory`, at);
  };
  const add = (node: ValueNode): NodeId => {
    charge(weigh(node));
    return nodes.push(node) - 1;
  };
  const keepAll = (): void => void (kept = nodes.length);
  const pushId = (id: NodeId): void => {
    stack.push(id);
    if (stack.length > highest) {
      highest = stack.length;
      charge(WEIGHTS.growing);
    }
    if (lenders.size === 0) return;
    const lender = lenders.get(id);
    if (lender !== undefined) lender.pushed++;
  };
  const push = (node: ValueNode): void => pushId(add(node));
  const pushBorrowed = (node: ValueNode): void => {
    push(node);
    keepAll();
    charge(WEIGHTS.memo);
    borrowed.add(top());
  };
  const report = (module: string, name: string, verdict: Verdict): void => {
    if (host.globals.length >= limits.globals) fail(`more than ${limits.globals} globals`);
    host.globals.push({ module, name, verdict, member, position: at });
  };
  const constant = (node: null | boolean): void => {
    let id = constants.get(node);
    if (id === undefined) {
      constants.set(node, (id = add(node)));
      keepAll();
    }
    pushId(id);
  };
  const pop = (): NodeId => (stack.length > floor ? (stack.pop() ?? 0) : fail('the stack is empty'));
  const top = (): NodeId => (stack.length > floor ? (stack[stack.length - 1] ?? 0) : fail('the stack is empty'));
  /** Takes away the innermost mark and what stands above it. A pickle may be made of nothing else, and cutting a list takes long. */
  const dropMark = (): void => {
    if (open === 0) fail('no mark on the stack');
    open--;
    const height = marks[open]!;
    floor = open === 0 ? 0 : marks[open - 1]!;
    markedAt = lengths[open]!;
    while (stack.length > height) stack.pop();
  };
  const popMark = (): NodeId[] => {
    const above = stack.slice(floor);
    dropMark();
    return above;
  };
  const table: Table = { nodes, add, fail };
  const node = (id: NodeId): Exclude<ValueNode, null | boolean | number | string> | { readonly kind: 'atom' } => {
    const value = nodes[id];
    return typeof value === 'object' && value !== null ? value : { kind: 'atom' };
  };
  const places = keyPlaces(nodes, keyReader(nodes, fail, charge), charge);
  const takesItems = (target: NodeId): boolean => node(target).kind === 'object' && !borrowed.has(target);
  const setItems = (target: NodeId, items: readonly NodeId[]): void => {
    if (items.length % 2 !== 0) fail('an odd number of items for a dict');
    const value = node(target);
    if (value.kind !== 'dict' && !takesItems(target)) return fail(`items set on a ${value.kind}`);
    // Most dicts of a checkpoint are the empty hooks of its tensors.
    if (items.length === 0 && value.kind === 'dict') return;
    keepAll();
    const entries = (opened(value).entries ??= []);
    const keyAt = (place: number): NodeId => entries[place]![0];
    for (let position = 0; position < items.length; position += 2) {
      const key = items[position] ?? 0;
      const value = items[position + 1] ?? 0;
      const known = places.add(target, key, entries.length, keyAt);
      if (known === undefined) {
        charge(WEIGHTS.entry);
        entries.push([key, value]);
      } else entries[known] = [entries[known]?.[0] ?? key, value];
    }
  };
  /** Adds to a set what it does not hold yet. */
  const addItems = (target: NodeId, items: readonly NodeId[]): void => {
    keepAll();
    const held = opened(nodes[target] as object); // A set: the callers have seen to it.
    const list = (held.items ??= []);
    const itemAt = (place: number): NodeId => list[place]!;
    for (const item of items) {
      if (places.add(target, item, list.length, itemAt) !== undefined) continue;
      charge(WEIGHTS.entry);
      list.push(item);
    }
  };
  const pushSet = (kind: 'set' | 'frozenset', items: readonly NodeId[]): void => {
    push({ kind, items: [] });
    addItems(top(), items);
  };
  const append = (target: NodeId, items: readonly NodeId[]): void => {
    const value = node(target);
    if (value.kind !== 'list' && !takesItems(target)) return fail(`items appended to a ${value.kind}`);
    keepAll();
    const list = (opened(value).items ??= []);
    charge(items.length * WEIGHTS.growing);
    for (const item of items) list.push(item);
  };
  const pushGlobal = (module: string, name: string): void => {
    const verdict = judge(module, name);
    report(module, name, verdict);
    if (name.includes('.') && !isNestedClass(name)) return pushBorrowed({ kind: 'global', module, name });
    if (module === 'torch' && Object.hasOwn(TORCH_DTYPES, name)) push({ kind: 'plain', class: 'torch.dtype', value: add(name) });
    else push({ kind: 'global', module, name });
    if (module === 'torch._utils' && name === '_rebuild_tensor_v2' && verdict === 'safe') builder = top();
    if (isLender(module, name)) {
      charge(WEIGHTS.memo);
      lenders.set(top(), { use: host.globals.length - 1, pushed: 1 });
    }
    keepAll();
  };
  /** How many entries of a dict have been seen to have texts as keys: one may be handed to very many calls, and grow in between. */
  const keywords = new Map<object, number>();
  const checkKeywords = (entries: readonly (readonly [NodeId, NodeId])[]): void => {
    const checked = keywords.get(entries) ?? 0;
    // A key that is set again stays what it was.
    for (let at = checked; at < entries.length; at++) if (typeof nodes[entries[at]![0]] !== 'string') fail('a keyword that is no text');
    if (checked === entries.length) return;
    if (checked === 0) charge(WEIGHTS.memo);
    keywords.set(entries, entries.length);
  };
  const call = (callee: NodeId, args: NodeId, isNew: boolean, kwargs?: NodeId): void => {
    const target = node(callee);
    const given = node(args);
    if (target.kind !== 'global') return fail(`a call of something that is no global (${target.kind})`);
    if (given.kind !== 'tuple') return fail(`call arguments that are no tuple (${given.kind})`);
    const { module, name } = target;
    const lender = lenders.get(callee);
    if (lender !== undefined && !isNew) {
      const found = borrow(nodes, name, args);
      if (found !== undefined) {
        lender.pushed--;
        if (found.named !== undefined) report(found.named.module, found.named.name, 'unknown');
        if (found.node.kind !== 'global' || !isNestedClass(found.node.name)) return pushBorrowed(found.node);
        push(found.node);
        return keepAll();
      }
    }
    // torch's own functions call what they are given, too.
    const isCalled =
      borrowed.has(callee) || (borrowed.size > 0 && isFunction(module, name) && given.items.some((item) => borrowed.has(item)));
    if (isCalled) report(module, name, 'dangerous');
    if (isNew && isFunction(module, name)) return fail(`a new object of ${module}.${name}, which is a function`);
    let isSafe = callable.get(callee);
    if (isSafe === undefined) callable.set(callee, (isSafe = judge(module, name) === 'safe'));
    if (kwargs === undefined && isSafe) {
      const made = plainCall(table, module, name, given.items) ?? host.call?.(module, name, given.items, at);
      if (typeof made === 'number') return pushId(made);
      // What is copied is charged as a copy: of items that are equal only one stays.
      if (typeof made === 'object' && (made?.kind === 'set' || made?.kind === 'frozenset')) {
        charge(WEIGHTS.growing * made.items.length);
        return pushSet(made.kind, made.items);
      }
      if (typeof made === 'object' && made?.kind === 'dict') {
        charge(WEIGHTS.object * made.entries.length);
        push({ ...made, entries: [] });
        return setItems(top(), made.entries.flat());
      }
      // A tensor refers to no node: what was made for its arguments alone goes again, nine tenths of a checkpoint's values.
      if (typeof made === 'object' && made?.kind === 'tensor' && args === tuple && args === nodes.length - 1 && tupleFrom >= kept) {
        nodes.length = tupleFrom;
        // The next node of that number is another.
        tuple = -1;
      }
      if (made !== undefined) return push(made);
    }
    push({ kind: 'object', module, name, args, ...(kwargs === undefined ? {} : { kwargs }) });
    keepAll();
    if (needsState(module, name, isNew)) unfinished.set(top(), at);
  };
  const build = (target: NodeId, state: NodeId): void => {
    keepAll();
    const value = node(target);
    const made = host.build?.(target, state, at);
    if (made !== undefined) {
      charge(weigh(made));
      nodes[target] = made;
      unfinished.delete(target);
    } else if (value.kind === 'object') {
      if (isPartial(value) && !isPartialState(nodes, state)) report(value.module, value.name, 'dangerous');
      opened(value)['state'] = state;
      unfinished.delete(target);
    } else if (value.kind === 'dict') {
      if (value.class === undefined || node(state).kind !== 'dict') fail('a state set on a plain dict, or one that is no dict');
      opened(value)['attributes'] = state;
    } else fail(`a state set on a ${value.kind}`);
  };
  const store = (index: number): void => {
    const isKept = isRecalled(index);
    if (isKept) keepAll();
    const id = top();
    if (memo.set(index, isKept ? id : FORGOTTEN)) charge(WEIGHTS.memo);
  };
  const recall = (index: number): void => {
    const id = memo.get(index);
    pushId(id === undefined || id === FORGOTTEN ? fail(`memo entry ${index} was never stored`) : id);
  };
  const pushInteger = (value: number | string): void => {
    if (typeof value === 'string') push({ kind: 'int', decimal: value });
    else if (value >= 0 && value < COMMON_INTEGERS) {
      let id = integers[value];
      if (id === undefined) {
        integers[value] = id = add(value);
        keepAll();
      }
      pushId(id);
    } else push(value);
  };
  const pushText = (text: string | Surrogates): void => {
    if (typeof text === 'string') push(text);
    else push({ kind: 'plain', class: 'str', value: add({ kind: 'bytes', base64: base64(text.wtf8) }) });
  };
  /** Whether a number has the node that it always has: those of others go with their tensor. */
  const isKnown = (value: number): boolean => value >= COMMON_INTEGERS || integers[value] !== undefined;
  const addWeight = (sum: number, value: number): number => (value < COMMON_INTEGERS ? sum : sum + weigh(value));
  /** The fast path, behind the opcode that fetches the builder: consumes all opcodes of one plain dense tensor; false, with nothing changed, if they are not of that form. */
  const pushTensor = (): boolean => {
    if (host.tensor === undefined || cursor.isInFrame()) return false;
    const found = plainTensor(cursor.position);
    if (found === undefined) return false;
    const { key, numel, offset, sizes, stride, firstStored, stored, persistentAt, callAt, end } = found;
    const type = memo.get(found.type) ?? FORGOTTEN;
    const device = memo.get(found.device) ?? FORGOTTEN;
    const hooks = node(memo.get(found.hooks) ?? FORGOTTEN);
    if (nodes[memo.get(found.kind) ?? FORGOTTEN] !== 'storage' || type === FORGOTTEN || device === FORGOTTEN) return false;
    if (hooks.kind !== 'global' || hooks.module !== 'collections' || hooks.name !== 'OrderedDict') return false;
    if (!isKnown(numel) || !isKnown(offset) || !sizes.every(isKnown) || !stride.every(isKnown) || !constants.has(false)) return false;
    for (let entry = firstStored; entry < firstStored + stored; entry++) if (isRecalled(entry)) return false;
    const height = stack.length + Math.max(8, 4 + sizes.length, 4 + stride.length);
    const cost =
      weigh(key) +
      addWeight(addWeight(0, numel), offset) +
      stride.reduce(addWeight, sizes.reduce(addWeight, 0)) +
      // The storage and the tensor; the tuples of both, of sizes and stride, and of the hooks; the hooks.
      2 * WEIGHTS.object +
      6 * (WEIGHTS.object + WEIGHTS.list) +
      (5 + sizes.length + stride.length + 6) * WEIGHTS.slot +
      stored * WEIGHTS.memo +
      Math.max(0, height - highest) * WEIGHTS.growing +
      Math.max(0, open + 2 - deepest) * 2 * WEIGHTS.growing;
    if (weight + cost > memory || !memo.append(firstStored, stored, FORGOTTEN)) return false;
    weight += cost;
    highest = Math.max(highest, height);
    deepest = Math.max(deepest, open + 2);
    stack.push(nodes.push(host.tensor({ type, key, device, numel, offset, sizes, stride, persistentAt, callAt })) - 1);
    cursor.position = end;
    return true;
  };
  const base64 = (data: Uint8Array): string => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');
  const index = (text: string): number => (/^\d{1,10}$/.test(text) ? Number(text) : fail(`memo index "${text.slice(0, 40)}"`));
  let proto = false;

  for (;;) {
    at = cursor.position;
    const opcode = cursor.u8();
    switch (opcode) {
      case 0x80: {
        const version = cursor.u8();
        if (version > 5) fail(`protocol ${version}, at most 5 is known`);
        if (proto) throw new PickleSyntaxError('a second PROTO opcode', at, true);
        proto = true;
        break;
      }
      case 0x95:
        cursor.enterFrame(cursor.u64());
        break;
      case 0x2e: {
        const id = pop();
        if (stack.length > 0 || open > 0) fail('values are left on the stack at STOP');
        for (const [object, position] of unfinished) {
          const { module, name } = node(object) as GlobalName; // Only objects are put there.
          throw new PickleSyntaxError(`an object of ${module}.${name} that never gets its state`, position, true);
        }
        for (const { use, pushed } of lenders.values()) if (pushed === 0) host.globals[use] = { ...host.globals[use]!, verdict: 'unknown' };
        return { id, end: cursor.position };
      }
      case 0x28:
        marks[open] = floor = stack.length;
        lengths[open++] = nodes.length;
        if (open > deepest) {
          deepest = open;
          charge(2 * WEIGHTS.growing);
        }
        break; // MARK
      case 0x30:
        if (stack.length === floor && open > 0) dropMark();
        else pop();
        break; // POP
      case 0x31:
        dropMark();
        break; // POP_MARK
      case 0x32:
        pushId(top());
        break; // DUP
      case 0x4e:
        constant(null);
        break;
      case 0x88:
        constant(true);
        break;
      case 0x89:
        constant(false);
        break;
      case 0x4b:
        pushInteger(cursor.u8());
        break; // BININT1
      case 0x4d:
        pushInteger(cursor.u16());
        break; // BININT2
      case 0x4a:
        pushInteger(cursor.i32());
        break; // BININT
      case 0x49: {
        // INT
        const text = cursor.line();
        if (text === '00' || text === '01') constant(text === '01');
        else pushInteger(parseDecimal(text) ?? fail(`integer "${text.slice(0, 40)}"`));
        break;
      }
      case 0x4c: {
        // LONG
        const text = cursor.line();
        pushInteger((text.endsWith('L') ? parseDecimal(text.slice(0, -1)) : parseDecimal(text)) ?? fail(`integer "${text.slice(0, 40)}"`));
        break;
      }
      case 0x8a:
        pushInteger(decodeLong(cursor.take(cursor.u8())));
        break; // LONG1
      case 0x8b: {
        // LONG4
        const length = cursor.i32();
        if (length > limits.integerBytes) fail(`an integer of ${length} bytes, at most ${limits.integerBytes} are read`);
        pushInteger(decodeLong(cursor.take(length)));
        break;
      }
      case 0x46: {
        // FLOAT
        const text = cursor.line();
        if (!/^[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)$/.test(text)) fail(`float "${text.slice(0, 40)}"`);
        const value = text.endsWith('inf') ? (text.startsWith('-') ? -Infinity : Infinity) : Number(text);
        if (!Number.isFinite(value) && /\d/.test(text)) fail(`float "${text.slice(0, 40)}" is too large`);
        push(floatNode(value));
        break;
      }
      case 0x47:
        push(floatNode(cursor.f64()));
        break; // BINFLOAT
      case 0x58:
        pushText(cursor.utf8(cursor.u32()));
        break; // BINUNICODE
      case 0x8c:
        pushText(cursor.utf8(cursor.u8()));
        break; // SHORT_BINUNICODE
      case 0x8d:
        pushText(cursor.utf8(cursor.u64()));
        break; // BINUNICODE8
      case 0x54:
        pushText(cursor.utf8(cursor.i32()));
        break; // BINSTRING; torch reads Python 2 strings as UTF-8
      case 0x55:
        pushText(cursor.utf8(cursor.u8()));
        break; // SHORT_BINSTRING
      case 0x53:
        // STRING
        pushText(decodeText(stringEscape(cursor.rawLine()) ?? fail('a text string that is not quoted, or with a broken escape'), at));
        break;
      case 0x56:
        // UNICODE
        pushText(decodeText(rawUnicodeEscape(cursor.rawLine()) ?? fail('a text string with a broken escape'), at));
        break;
      case 0x42:
        push({ kind: 'bytes', base64: base64(cursor.take(cursor.u32())) });
        break;
      case 0x43:
        push({ kind: 'bytes', base64: base64(cursor.take(cursor.u8())) });
        break;
      case 0x8e:
        push({ kind: 'bytes', base64: base64(cursor.take(cursor.u64())) });
        break;
      case 0x96:
        push({ kind: 'bytearray', base64: base64(cursor.take(cursor.u64())) });
        break;
      case 0x5d:
        push({ kind: 'list', items: [] });
        break;
      case 0x29:
        push({ kind: 'tuple', items: [] });
        break;
      case 0x7d:
        push({ kind: 'dict', entries: [] });
        break;
      case 0x8f:
        push({ kind: 'set', items: [] });
        break;
      case 0x6c: {
        const items = popMark();
        push({ kind: 'list', items });
        break;
      }
      case 0x74: {
        const items = popMark();
        push({ kind: 'tuple', items });
        tuple = top();
        tupleFrom = markedAt;
        break;
      }
      case 0x91: {
        pushSet('frozenset', popMark());
        break;
      }
      case 0x64: {
        const items = popMark();
        push({ kind: 'dict', entries: [] });
        setItems(top(), items);
        break;
      }
      case 0x85: {
        const a = pop();
        push({ kind: 'tuple', items: [a] });
        break;
      }
      case 0x86: {
        const b = pop(),
          a = pop();
        push({ kind: 'tuple', items: [a, b] });
        break;
      }
      case 0x87: {
        const c = pop(),
          b = pop(),
          a = pop();
        push({ kind: 'tuple', items: [a, b, c] });
        break;
      }
      case 0x61: {
        const value = pop();
        append(top(), [value]);
        break;
      }
      case 0x65: {
        const items = popMark();
        append(top(), items);
        break;
      }
      case 0x73: {
        const value = pop(),
          key = pop();
        setItems(top(), [key, value]);
        break;
      }
      case 0x75: {
        const items = popMark();
        setItems(top(), items);
        break;
      }
      case 0x90: {
        // ADDITEMS
        const items = popMark(),
          target = node(top());
        if (target.kind !== 'set') {
          fail(`items added to a ${target.kind}`);
          break;
        }
        addItems(top(), items);
        break;
      }
      case 0x67:
        recall(index(cursor.line()));
        break;
      case 0x68: {
        const index = cursor.u8();
        if (builder < 0 || memo.get(index) !== builder || !pushTensor()) recall(index);
        break;
      }
      case 0x6a:
        recall(cursor.u32());
        break;
      case 0x70:
        store(index(cursor.line()));
        break;
      case 0x71:
        store(cursor.u8());
        break;
      case 0x72:
        store(cursor.u32());
        break;
      case 0x94:
        store(memo.size());
        break; // MEMOIZE
      case 0x63: {
        const module = cursor.line();
        pushGlobal(module, cursor.line());
        break;
      }
      case 0x93: {
        // STACK_GLOBAL
        const name = nodes[pop()],
          module = nodes[pop()];
        if (typeof name !== 'string' || typeof module !== 'string') {
          fail('STACK_GLOBAL without two strings');
          break;
        }
        pushGlobal(module, name);
        // Texts of the memo are named again without being written again, and names are gone through each time.
        if (module.length + name.length > limits.line) fail(`a global whose name has ${module.length + name.length} characters`);
        break;
      }
      case 0x69: {
        // INST
        const module = cursor.line(),
          name = cursor.line(),
          args = popMark();
        pushGlobal(module, name);
        call(pop(), add({ kind: 'tuple', items: args }), false);
        break;
      }
      case 0x6f: {
        // OBJ
        const [callee, ...args] = popMark();
        call(callee ?? fail('OBJ without a class'), add({ kind: 'tuple', items: args }), false);
        break;
      }
      case 0x52:
      case 0x81: {
        const args = pop();
        call(pop(), args, opcode === 0x81);
        break;
      } // REDUCE, NEWOBJ
      case 0x92: {
        // NEWOBJ_EX
        const kwargs = pop(),
          args = pop(),
          callee = pop();
        const named = node(kwargs);
        if (named.kind !== 'dict') {
          fail('keyword arguments that are no dict');
          break;
        }
        checkKeywords(named.entries);
        call(callee, args, true, named.entries.length === 0 ? undefined : kwargs);
        break;
      }
      case 0x62: {
        const state = pop();
        build(top(), state);
        break;
      }
      case 0x51: {
        // BINPERSID
        const id = pop();
        if (host.persistent === undefined) {
          fail('a persistent id where none is expected');
          break;
        }
        push(host.persistent(id, at));
        break;
      }
      case 0x50:
        throw new PickleSyntaxError('a persistent id as text', at, true);
      case 0x82:
      case 0x83:
      case 0x84:
        throw new PickleSyntaxError('an extension code, which stands for a name that only the loading process knows', at, true);
      case 0x97:
      case 0x98:
        fail('an out-of-band buffer');
        break;
      default:
        fail(`unknown opcode 0x${opcode.toString(16).padStart(2, '0')}`);
    }
  }
}
