/** Looking at a run until it has ended. */
import { getEventListeners } from 'node:events';
import { expect, test } from '@jest/globals';
import { changes } from '../../src/app/watch.ts';

test('each look has a signal of its own, and that of the watch is free again after it', async () => {
  const watching = new AbortController();
  const looks = new Set<AbortSignal>();
  let left = 30;
  for await (const _ of changes(async (own) => (looks.add(own), { state: left, ended: --left === 0 }), {
    interval: 0,
    signal: watching.signal,
  }))
    expect(getEventListeners(watching.signal, 'abort').length).toBeLessThan(3);
  expect([looks.size, getEventListeners(watching.signal, 'abort')]).toEqual([30, []]);
});

test('the end of the watching ends a look that nobody answers', async () => {
  const watching = new AbortController();
  let own: AbortSignal | undefined;
  const seen = changes((signal) => ((own = signal), new Promise<never>(() => undefined)), { signal: watching.signal }).next();
  watching.abort();
  expect(await seen).toEqual({ done: true, value: undefined });
  expect(own!.aborted).toBe(true);
});
