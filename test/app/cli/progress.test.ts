/** The bar's rate and the time that is left: of what this attempt writes of this file. */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { ProgressBar } from '../../../src/app/cli/progress.ts';

const MIB = 1024 * 1024;
let written: string[];

beforeEach(() => {
  written = [];
  jest.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
  jest.restoreAllMocks();
});

/** What the bar says of offsets that are one second apart. */
function drawn(...seen: readonly (readonly [offset: number, size: number])[]): readonly string[] {
  const bar = new ProgressBar();
  for (const [offset, size] of seen) {
    bar.draw({ offset: offset * MIB, size: size * MIB });
    jest.advanceTimersByTime(1000);
  }
  return written.map((line) => line.slice(line.indexOf('%') + 1).trim());
}

test('a transfer from its start', () => {
  expect(drawn([0, 100], [10, 100], [30, 100])).toEqual([
    '0 B of 100 MiB',
    '10.0 MiB of 100 MiB  10.0 MiB/s  9 s left',
    '30.0 MiB of 100 MiB  15.0 MiB/s  5 s left',
  ]);
});

test('one that goes on where an earlier attempt stopped', () => {
  expect(drawn([80, 100], [90, 100])).toEqual(['80.0 MiB of 100 MiB', '90.0 MiB of 100 MiB  10.0 MiB/s  1 s left']);
});

test('the next shard, and an attempt that goes back', () => {
  expect(drawn([40, 100], [90, 100], [5, 100], [25, 100]).slice(2)).toEqual([
    '5.00 MiB of 100 MiB',
    '25.0 MiB of 100 MiB  20.0 MiB/s  4 s left',
  ]);
  written.length = 0;
  expect(drawn([40, 100], [60, 200], [70, 200]).slice(1)).toEqual(['60.0 MiB of 200 MiB', '70.0 MiB of 200 MiB  10.0 MiB/s  13 s left']);
});

test('what is drawn is wiped, and nothing else', () => {
  const bar = new ProgressBar();
  bar.stop();
  expect(written).toEqual([]);
  bar.draw({ offset: 0, size: 0 });
  bar.stop();
  expect(written.at(-1)).toBe('\r\u001b[2K');
});
