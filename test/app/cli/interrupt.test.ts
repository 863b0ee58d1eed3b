/** Ctrl-C of a command that starts a run, before and after the run is there. */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { interruptible } from '../../../src/app/cli/interrupt.ts';

const said: string[] = [];

beforeEach(() => {
  said.length = 0;
  jest.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0);
  jest.spyOn(process, 'exit').mockImplementation((code) => {
    throw new Error(`left with ${code}`);
  });
});
afterEach(() => void jest.restoreAllMocks());

test('a signal that comes before the run is there cancels it as soon as it is', async () => {
  const cancel = jest.fn(async () => undefined);
  await interruptible('run', 'one', async (interruption) => {
    expect(interruption.asked()).toBe(false);
    process.emit('SIGINT');
    expect(interruption.asked()).toBe(true);
    interruption.started(cancel);
    await interruption.cancelled;
  });
  expect(cancel).toHaveBeenCalledTimes(1);
  expect(said).toEqual(['Cancelling the run one … (again to leave at once)\n']);
});

test('one that comes later cancels it at once', async () => {
  const cancel = jest.fn(async () => undefined);
  await interruptible('batch', 'two', async (interruption) => {
    interruption.started(cancel);
    expect(cancel).not.toHaveBeenCalled();
    process.emit('SIGTERM');
    await interruption.cancelled;
  });
  expect(cancel).toHaveBeenCalledTimes(1);
});

test('a terminal that is closed cancels it, though it says so twice', async () => {
  const cancel = jest.fn(async () => undefined);
  await interruptible('run', 'five', async (interruption) => {
    interruption.started(cancel);
    process.emit('SIGHUP', 'SIGHUP');
    process.emit('SIGHUP', 'SIGHUP');
    await interruption.cancelled;
  });
  expect(cancel).toHaveBeenCalledTimes(1);
});

test('a second one leaves, and says what becomes of the run', async () => {
  await interruptible('run', 'three', async (interruption) => {
    process.emit('SIGINT');
    expect(() => process.emit('SIGINT')).toThrow('left with 130');
    expect(said.at(-1)).toBe('three may go on: `ckpt cancel three` ends it.\n');
    interruption.started(async () => undefined);
    await interruption.cancelled;
    expect(() => process.emit('SIGINT')).toThrow('left with 130');
    expect(said.at(-1)).toBe('three was asked to end: `ckpt status three` tells how it did.\n');
  });
});

test('afterwards signals are no longer ours', async () => {
  const before = process.listenerCount('SIGINT');
  await expect(interruptible('run', 'four', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(process.listenerCount('SIGINT')).toBe(before);
});
