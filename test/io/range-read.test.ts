import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { watched } from '../../src/io/range-read.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

const endless = (): Promise<never> => new Promise(() => undefined);

test('work that does not end by itself is left behind: it has stalled', async () => {
  const ended = expect(watched(1000, undefined, endless)).rejects.toMatchObject({ code: 'Stalled', retryable: true });
  await jest.runAllTimersAsync();
  await ended;
});

test('the same for who is cancelled', async () => {
  const controller = new AbortController();
  const ended = expect(watched(3_600_000, controller.signal, endless)).rejects.toThrow('cancelled');
  controller.abort(new Error('cancelled'));
  await jest.advanceTimersByTimeAsync(10_000);
  await ended;
});

test('work that takes a moment to end is waited for', async () => {
  const controller = new AbortController();
  let isOver = false;
  const work = async (): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, 2000));
    isOver = true;
    throw new Error('over');
  };
  const ended = expect(watched(3_600_000, controller.signal, work)).rejects.toThrow('cancelled');
  controller.abort(new Error('cancelled'));
  await jest.runAllTimersAsync();
  await ended;
  expect(isOver).toBe(true);
  expect(jest.getTimerCount()).toBe(0);
});
