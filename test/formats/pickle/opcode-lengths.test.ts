/** Going through a pickle without running it: every argument is passed by as a whole. */
import { expect, test } from '@jest/globals';
import { COUNTED, FIXED, LINES } from '../../../src/formats/pickle/opcode-lengths.ts';
import { recallsOf } from '../../../src/formats/pickle/recalls.ts';
import { pickleExtent } from '../../../src/formats/torch/pickle-extent.ts';

const STOP = 0x2e;
/** Where an argument is not passed by, its bytes are taken for the end, or for a fetch of entry 46. */
const TRAPS = [0x68, STOP, STOP, 0x68, STOP, STOP, STOP, STOP];

/** Every opcode with an argument, and that argument full of traps. */
const WITH_ARGUMENTS = Array.from({ length: 256 }, (_, opcode) => {
  if (FIXED[opcode]! > 0) return [opcode, ...TRAPS.slice(0, FIXED[opcode])];
  const width = COUNTED[opcode]!;
  if (width > 0) return [opcode, TRAPS.length, ...Array<number>(width - 1).fill(0), ...TRAPS];
  return LINES[opcode]! > 0 ? [opcode, ...Array.from({ length: LINES[opcode]! }, () => [...TRAPS, 10]).flat()] : [];
}).filter((bytes) => bytes.length > 0);

test('an opcode stands in one table at most', () => {
  for (let opcode = 0; opcode < 256; opcode++)
    expect([FIXED, COUNTED, LINES].filter((table) => table[opcode]! > 0).length).toBeLessThanOrEqual(1);
  expect(WITH_ARGUMENTS).toHaveLength(13 + 11 + 10);
});

test('an end in an argument is none', () => {
  const whole = Uint8Array.from([...WITH_ARGUMENTS.flat(), STOP, 0]);
  expect(pickleExtent(whole, 0)).toMatchObject({ at: whole.length - 1, ended: true });
});

test('a fetch in an argument is none', () => {
  const GETS = [0x67, 0x68, 0x6a];
  const others = WITH_ARGUMENTS.filter(([opcode]) => !GETS.includes(opcode!));
  const isRecalled = recallsOf(Uint8Array.from([...others.flat(), 0x68, 7, 0x6a, 0, 1, 0, 0, STOP]), 0);
  expect([7, 46, 256, 257].map(isRecalled)).toEqual([true, false, true, false]);
});

test('without an end, or with a fetch in text, every entry may be fetched', () => {
  for (const bytes of [
    [0x68, 7],
    [0x67, 0x37, 10, STOP],
    [0x58, 9, 0, 0, 0, STOP],
    [0x70, 0x37],
  ])
    expect(recallsOf(Uint8Array.from(bytes), 0)(99)).toBe(true);
});
