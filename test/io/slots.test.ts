import { expect, test } from '@jest/globals';
import { slots } from '../../src/io/slots.ts';

const never = new AbortController().signal;

test('no more at a time than there are slots; all get their turn, in order', async () => {
  const { use } = slots(3);
  let running = 0;
  let most = 0;
  const begun: number[] = [];
  const work = (index: number) => async () => {
    begun.push(index);
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 1));
    running--;
    if (index % 4 === 0) throw new Error('failed');
    return index;
  };
  const settled = await Promise.allSettled(Array.from({ length: 20 }, (_, index) => use(work(index), never)));
  expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(15);
  expect(most).toBe(3);
  expect(begun).toEqual(Array.from({ length: 20 }, (_, index) => index));
});

test('a slot that is held is handed back once', async () => {
  const { hold } = slots(1);
  const release = await hold(never);
  const second = hold(never);
  const third = hold(never);
  release();
  release();
  (await second)();
  await third;
  const cancelled = new AbortController();
  const fourth = hold(cancelled.signal);
  cancelled.abort(new Error('nothing was free'));
  await expect(fourth).rejects.toThrow('nothing was free');
});

test('who is cancelled while waiting gives up the place', async () => {
  const { use } = slots(1);
  const abort = new AbortController();
  let release = (): void => undefined;
  const first = use(() => new Promise<void>((resolve) => (release = resolve)), never);
  const second = use(async () => 'second', abort.signal);
  const third = use(async () => 'third', never);
  abort.abort(new Error('cancelled'));
  await expect(second).rejects.toThrow('cancelled');
  release();
  await first;
  expect(await third).toBe('third');
  await expect(use(async () => 'late', abort.signal)).rejects.toThrow('cancelled');
});
