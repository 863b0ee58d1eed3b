/**
 * The opcodes of a pickle, one after the other: which there are, what their arguments are, and what of a machine they ask.
 * Their names are those of pickletools.py of CPython 3.13.
 *
 * Invariant: one loop over an explicit stack, so the depth of the input costs no stack of ours. What is not an opcode is refused, and so
 * are opcodes whose meaning lies with the loading process.
 */
import type { NodeId } from '../../model/value.ts';
import { decodeText, type Cursor } from './cursor.ts';
import { floatNode } from './float-node.ts';
import { decodeLong, parseDecimal } from './integers.ts';
import { openMachine, type Pickle } from './machine.ts';
import { rawUnicodeEscape, stringEscape } from './text.ts';

const LAST_PROTOCOL = 5;

/** Reads one pickle into the nodes of its host: its value, and where it ends. Throws `PickleSyntaxError` for what it refuses. */
export function runPickle(pickle: Pickle): { readonly id: NodeId; readonly end: number } {
  const machine = openMachine(pickle);
  const cursor: Cursor = machine.cursor;
  const fail: Cursor['fail'] = cursor.fail;
  const failAmbiguous: Cursor['failAmbiguous'] = cursor.failAmbiguous;
  const { push, pushId, pop, top, mark, popMark } = machine.stack;
  const { pushConstant, pushInteger, pushText, pushBytes } = machine.scalars;
  const { append, setItems, addItems, pushSet } = machine.containers;
  const { pushGlobal, call, instantiate, callWithKeywords, build } = machine.calls;
  const { store, recall, recallOrTensor } = machine;
  const index = (text: string): number => (/^\d{1,10}$/.test(text) ? Number(text) : fail(`memo index "${text.slice(0, 40)}"`));
  const decimal = (text: string, line = text): number | string => parseDecimal(text) ?? fail(`integer "${line.slice(0, 40)}"`);
  let hasProtocol = false;

  for (;;) {
    const opcode = cursor.opcode();
    switch (opcode) {
      // PROTO
      case 0x80: {
        const version = cursor.u8();
        if (version > LAST_PROTOCOL) fail(`protocol ${version}, at most ${LAST_PROTOCOL} is known`);
        if (hasProtocol) failAmbiguous('a second PROTO opcode');
        hasProtocol = true;
        break;
      }
      // FRAME
      case 0x95:
        cursor.enterFrame(cursor.u64());
        break;
      // STOP
      case 0x2e:
        return machine.stop();

      // MARK
      case 0x28:
        mark();
        break;
      // POP
      case 0x30:
        machine.stack.drop();
        break;
      // POP_MARK
      case 0x31:
        machine.stack.dropMark();
        break;
      // DUP
      case 0x32:
        pushId(top());
        break;

      // NONE
      case 0x4e:
        pushConstant(null);
        break;
      // NEWTRUE
      case 0x88:
        pushConstant(true);
        break;
      // NEWFALSE
      case 0x89:
        pushConstant(false);
        break;
      // BININT1
      case 0x4b:
        pushInteger(cursor.u8());
        break;
      // BININT2
      case 0x4d:
        pushInteger(cursor.u16());
        break;
      // BININT
      case 0x4a:
        pushInteger(cursor.i32());
        break;
      // INT
      case 0x49: {
        const text = cursor.line();
        if (text === '00' || text === '01') pushConstant(text === '01');
        else pushInteger(decimal(text));
        break;
      }
      // LONG
      case 0x4c: {
        const text = cursor.line();
        pushInteger(decimal(text.endsWith('L') ? text.slice(0, -1) : text, text));
        break;
      }
      // LONG1
      case 0x8a:
        pushInteger(decodeLong(cursor.take(cursor.u8())));
        break;
      // LONG4
      case 0x8b: {
        const length = cursor.i32();
        const most = pickle.limits.integerBytes;
        if (length > most) fail(`an integer of ${length} bytes, at most ${most} are read`);
        pushInteger(decodeLong(cursor.take(length)));
        break;
      }
      // FLOAT
      case 0x46:
        push(floatNode(parseFloatLine(cursor.line(), fail)));
        break;
      // BINFLOAT
      case 0x47:
        push(floatNode(cursor.f64()));
        break;

      // BINUNICODE
      case 0x58:
        pushText(cursor.utf8(cursor.u32()));
        break;
      // SHORT_BINUNICODE
      case 0x8c:
        pushText(cursor.utf8(cursor.u8()));
        break;
      // BINUNICODE8
      case 0x8d:
        pushText(cursor.utf8(cursor.u64()));
        break;
      // BINSTRING: torch reads Python 2 strings as UTF-8
      case 0x54:
        pushText(cursor.utf8(cursor.i32()));
        break;
      // SHORT_BINSTRING
      case 0x55:
        pushText(cursor.utf8(cursor.u8()));
        break;
      // STRING
      case 0x53: {
        const text = stringEscape(cursor.rawLine()) ?? fail('a text string that is not quoted, or with a broken escape');
        pushText(decodeText(text, cursor.opcodeAt));
        break;
      }
      // UNICODE
      case 0x56: {
        const text = rawUnicodeEscape(cursor.rawLine()) ?? fail('a text string with a broken escape');
        pushText(decodeText(text, cursor.opcodeAt));
        break;
      }
      // BINBYTES
      case 0x42:
        pushBytes('bytes', cursor.take(cursor.u32()));
        break;
      // SHORT_BINBYTES
      case 0x43:
        pushBytes('bytes', cursor.take(cursor.u8()));
        break;
      // BINBYTES8
      case 0x8e:
        pushBytes('bytes', cursor.take(cursor.u64()));
        break;
      // BYTEARRAY8
      case 0x96:
        pushBytes('bytearray', cursor.take(cursor.u64()));
        break;

      // EMPTY_LIST
      case 0x5d:
        push({ kind: 'list', items: [] });
        break;
      // EMPTY_TUPLE
      case 0x29:
        push({ kind: 'tuple', items: [] });
        break;
      // EMPTY_DICT
      case 0x7d:
        push({ kind: 'dict', entries: [] });
        break;
      // EMPTY_SET
      case 0x8f:
        push({ kind: 'set', items: [] });
        break;
      // LIST
      case 0x6c:
        push({ kind: 'list', items: popMark() });
        break;
      // TUPLE
      case 0x74:
        machine.markedTuple();
        break;
      // FROZENSET
      case 0x91:
        pushSet('frozenset', popMark());
        break;
      // DICT
      case 0x64: {
        const items = popMark();
        push({ kind: 'dict', entries: [] });
        setItems(items);
        break;
      }
      // TUPLE1
      case 0x85:
        push({ kind: 'tuple', items: [pop()] });
        break;
      // TUPLE2
      case 0x86: {
        const second = pop();
        const first = pop();
        push({ kind: 'tuple', items: [first, second] });
        break;
      }
      // TUPLE3
      case 0x87: {
        const third = pop();
        const second = pop();
        const first = pop();
        push({ kind: 'tuple', items: [first, second, third] });
        break;
      }
      // APPEND
      case 0x61:
        append([pop()]);
        break;
      // APPENDS
      case 0x65:
        append(popMark());
        break;
      // SETITEM
      case 0x73: {
        const value = pop();
        const key = pop();
        setItems([key, value]);
        break;
      }
      // SETITEMS
      case 0x75:
        setItems(popMark());
        break;
      // ADDITEMS
      case 0x90:
        addItems(popMark());
        break;

      // GET
      case 0x67:
        recall(index(cursor.line()));
        break;
      // BINGET
      case 0x68:
        recallOrTensor(cursor.u8());
        break;
      // LONG_BINGET
      case 0x6a:
        recall(cursor.u32());
        break;
      // PUT
      case 0x70:
        store(index(cursor.line()));
        break;
      // BINPUT
      case 0x71:
        store(cursor.u8());
        break;
      // LONG_BINPUT
      case 0x72:
        store(cursor.u32());
        break;
      // MEMOIZE
      case 0x94:
        machine.memoize();
        break;

      // GLOBAL
      case 0x63: {
        const module = cursor.line();
        pushGlobal(module, cursor.line());
        break;
      }
      // STACK_GLOBAL
      case 0x93:
        machine.stackGlobal();
        break;
      // INST
      case 0x69: {
        const module = cursor.line();
        const name = cursor.line();
        const args = popMark();
        pushGlobal(module, name);
        instantiate(pop(), args);
        break;
      }
      // OBJ
      case 0x6f: {
        const [callee, ...args] = popMark();
        instantiate(callee ?? fail('OBJ without a class'), args);
        break;
      }
      // REDUCE
      case 0x52: {
        const args = pop();
        call(pop(), args, false);
        break;
      }
      // NEWOBJ
      case 0x81: {
        const args = pop();
        call(pop(), args, true);
        break;
      }
      // NEWOBJ_EX
      case 0x92: {
        const kwargs = pop();
        const args = pop();
        callWithKeywords(pop(), args, kwargs);
        break;
      }
      // BUILD
      case 0x62:
        build(pop());
        break;
      // BINPERSID
      case 0x51:
        machine.persistent();
        break;

      // PERSID
      case 0x50:
        return failAmbiguous('a persistent id as text');
      // EXT1, EXT2, EXT4
      case 0x82:
      case 0x83:
      case 0x84:
        return failAmbiguous('an extension code, which stands for a name that only the loading process knows');
      // NEXT_BUFFER, READONLY_BUFFER
      case 0x97:
      case 0x98:
        return fail('an out-of-band buffer');
      default:
        return fail(`unknown opcode 0x${opcode.toString(16).padStart(2, '0')}`);
    }
  }
}

/** The number that a line of FLOAT holds. */
function parseFloatLine(text: string, fail: (message: string) => never): number {
  if (!/^[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)$/.test(text)) fail(`float "${text.slice(0, 40)}"`);
  const value = text.endsWith('inf') ? (text.startsWith('-') ? -Infinity : Infinity) : Number(text);
  if (!Number.isFinite(value) && /\d/.test(text)) fail(`float "${text.slice(0, 40)}" is too large`);
  return value;
}
