/** Memory that all uploads of a process share: bounded, handed out in turn, and never lost. */
import { setImmediate } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { partMemory, type PartMemory } from '../../src/io/part-memory.ts';

const NEVER = new AbortController().signal;

/** Counts what is handed out at a time. */
function watched(limit: number): { readonly memory: PartMemory; readonly most: () => number; readonly now: () => number } {
  const memory = partMemory(limit);
  let now = 0;
  let most = 0;
  return {
    memory: {
      ...memory,
      async take(length, signal) {
        const part = await memory.take(length, signal);
        let isOut = true;
        now += length;
        most = Math.max(most, now);
        return {
          bytes: part.bytes,
          release() {
            if (isOut) now -= length;
            isOut = false;
            part.release();
          },
        };
      },
    },
    most: () => most,
    now: () => now,
  };
}

interface Upload {
  readonly parts: number;
  readonly length: number;
  readonly atOnce: number;
  readonly signal?: AbortSignal;
}

/** An upload as they are: each part is let go when it is sent, whatever the next one waits for. */
async function upload(memory: PartMemory, { parts, length, atOnce, signal = NEVER }: Upload): Promise<number> {
  let left = parts;
  let sent = 0;
  const send = async (): Promise<void> => {
    while (left-- > 0) {
      const part = await memory.take(length, signal);
      try {
        expect(part.bytes).toHaveLength(length);
        await setImmediate();
        signal.throwIfAborted();
        sent++;
      } finally {
        part.release();
      }
    }
  };
  const all = await Promise.allSettled(Array.from({ length: atOnce }, send));
  for (const each of all) if (each.status === 'rejected') throw each.reason;
  return sent;
}

test('several uploads at once stay within the bound, and all of them end', async () => {
  const { memory, most, now } = watched(256);
  const sent = await Promise.all([
    upload(memory, { parts: 200, length: 16, atOnce: 4 }),
    upload(memory, { parts: 200, length: 48, atOnce: 4 }),
    upload(memory, { parts: 50, length: 100, atOnce: 2 }),
    upload(memory, { parts: 200, length: 7, atOnce: 8 }),
  ]);
  expect(sent).toEqual([200, 200, 50, 200]);
  expect(most()).toBeGreaterThan(128);
  expect(most()).toBeLessThanOrEqual(256);
  expect(now()).toBe(0);
});

test('who waits is served in turn: small parts do not starve a large one', async () => {
  const memory = partMemory(100);
  const order: string[] = [];
  const first = await memory.take(60, NEVER);
  const large = memory.take(100, NEVER).then((part) => (order.push('large'), part));
  const small = memory.take(10, NEVER).then((part) => (order.push('small'), part));
  await setImmediate();
  expect(order).toEqual([]);
  first.release();
  (await large).release();
  (await small).release();
  expect(order).toEqual(['large', 'small']);
});

test('one that is cancelled while it waits takes nothing, and lets those behind it through', async () => {
  const { memory, now } = watched(100);
  const first = await memory.take(60, NEVER);
  const abort = new AbortController();
  const large = memory.take(100, abort.signal);
  const small = memory.take(40, NEVER);
  abort.abort(new Error('cancelled'));
  await expect(large).rejects.toThrow('cancelled');
  (await small).release();
  first.release();
  expect(now()).toBe(0);
  (await memory.take(100, NEVER)).release();
  await expect(memory.take(1, abort.signal)).rejects.toThrow('cancelled');
});

test('uploads that are cancelled at any point leave all of it to the others', async () => {
  for (let at = 1; at < 30; at++) {
    const { memory, most, now } = watched(64);
    const abort = new AbortController();
    const cancelled = Promise.allSettled([1, 2, 3].map(() => upload(memory, { parts: 100, length: 24, atOnce: 2, signal: abort.signal })));
    const other = upload(memory, { parts: 60, length: 20, atOnce: 3 });
    for (let turn = 0; turn < at; turn++) await setImmediate();
    abort.abort(new Error('cancelled'));
    expect((await cancelled).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(await other).toBe(60);
    expect(most()).toBeLessThanOrEqual(64);
    expect(now()).toBe(0);
  }
});

test('a part that is larger than the bound has all of it, alone', async () => {
  const memory = partMemory(100);
  const part = await memory.take(300, NEVER);
  const next = memory.take(1, NEVER);
  expect(await Promise.race([next, setImmediate('waits')])).toBe('waits');
  part.release();
  part.release();
  (await next).release();
  const both = await Promise.all([memory.take(50, NEVER), memory.take(50, NEVER)]);
  const third = memory.take(1, NEVER);
  expect(await Promise.race([third, setImmediate('waits')])).toBe('waits');
  for (const each of both) each.release();
  (await third).release();
});
