import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { PARTS_MOST, planParts, type Run } from '../../../src/io/s3/parts.ts';

const MIB = 2 ** 20;
const TIB = 2 ** 40;

function check(runs: readonly Run[]): ReturnType<typeof planParts> {
  const parts = planParts(runs);
  const size = runs.reduce((sum, { length }) => sum + length, 0);
  let offset = 0;
  parts.forEach((part, index) => {
    if (part.number !== index + 1 || part.offset !== offset || part.length <= 0) throw new Error(`part ${index + 1} is out of place`);
    if (part.length < 5 * MIB && index < parts.length - 1) throw new Error(`part ${index + 1} has ${part.length} bytes`);
    if (part.length > 5 * 2 ** 30) throw new Error(`part ${index + 1} has ${part.length} bytes`);
    if (part.copy !== null) {
      // The copied bytes are those that the runs say.
      const end = part.offset + part.length;
      let at = 0;
      for (const { length, copy } of runs) {
        const from = Math.max(at, part.offset);
        if (
          from < Math.min(at + length, end) &&
          (copy?.file !== part.copy.file ||
            copy.member !== part.copy.member ||
            copy.offset + from - at !== part.copy.offset + from - part.offset)
        )
          throw new Error(`part ${index + 1} copies other bytes`);
        at += length;
      }
    }
    offset += part.length;
  });
  expect(offset).toBe(size);
  expect(parts.length).toBeLessThanOrEqual(PARTS_MOST);
  return parts;
}

test('10 000 parts hold 5 TiB, and a small output is one', () => {
  expect(check([{ length: 5 * TIB, copy: null }]).length).toBeGreaterThan(9000);
  expect(check([{ length: 5 * TIB, copy: { file: 0, member: null, offset: 0 } }]).length).toBeGreaterThan(9000);
  expect(check([{ length: 1, copy: null }])).toHaveLength(1);
});

test('a header takes what it lacks from the copy behind it; small runs are gathered', () => {
  const copied = (length: number, offset: number): Run => ({ length, copy: { file: 0, member: null, offset } });
  const parts = check([
    { length: 1000, copy: null },
    copied(20 * MIB, 64),
    copied(MIB, 90 * MIB),
    { length: 10, copy: null },
    copied(30 * MIB, 0),
  ]);
  expect(parts.map(({ length, copy }) => [length, copy])).toEqual([
    [5 * MIB, null],
    [15 * MIB + 1000, { file: 0, member: null, offset: 64 + 5 * MIB - 1000 }],
    [5 * MIB, null],
    [30 * MIB - (4 * MIB - 10), { file: 0, member: null, offset: 4 * MIB - 10 }],
  ]);
});

test.each([
  [8 * MIB, 1],
  [9 * MIB, 1],
  [10 * MIB, 2],
  [17 * MIB, 3],
])('%d bytes to be sent are %d parts', (length, count) => expect(check([{ length, copy: null }])).toHaveLength(count));

test('neighbours of a source are copied as one', () => {
  const parts = check(
    Array.from({ length: 60 }, (_, index) => ({ length: MIB, copy: { file: 0, member: null, offset: 8 + index * MIB } })),
  );
  expect(parts).toEqual([{ number: 1, offset: 0, length: 60 * MIB, copy: { file: 0, member: null, offset: 8 } }]);
});

test('whatever the runs, parts are in order, within the limits, and copy the right bytes', () => {
  const run = fc.record({
    length: fc.oneof(fc.nat(100), fc.integer({ min: 0, max: 12 * MIB }), fc.integer({ min: 0, max: 600 * MIB })),
    copy: fc.option(fc.record({ file: fc.nat(1), member: fc.option(fc.nat(1), { nil: null }), offset: fc.nat(1000) }), { nil: null }),
  });
  fc.assert(
    fc.property(fc.array(run, { minLength: 1, maxLength: 60 }), (runs) => {
      if (runs.some(({ length }) => length > 0)) check(runs);
    }),
  );
});
