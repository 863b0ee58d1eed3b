/** Work on headers of very many tensors goes one at a time; all other work waits for none of it. */
import { expect, test } from '@jest/globals';
import { inTurn, type Services } from '../../activities/services.ts';
import { LONG_WORK } from '../../src/io/breath.ts';
import { slots } from '../../src/io/slots.ts';
import { readInTurn, turnOf } from '../../src/io/turn.ts';
import type { ByteSource } from '../../src/model/byte-source.ts';
import type { BlobReference } from '../../src/model/context.ts';

const signal = new AbortController().signal;
const passed = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** How many reads have begun. */
function source(): ByteSource & { readonly begun: () => number } {
  let begun = 0;
  return {
    uri: 'memory:///x',
    size: 10 * LONG_WORK,
    identity: '1',
    read: async (_offset, length) => {
      begun++;
      return new Uint8Array(length);
    },
    readInto: async () => undefined,
    close: async () => undefined,
    begun: () => begun,
  };
}

test('a long read waits until the one before gives its turn back; a short one, and a second one of the same, wait for nothing', async () => {
  const queue = slots(1);
  const [first, second] = [turnOf(queue, signal), turnOf(queue, signal)];
  const one = source();
  const other = source();
  await readInTurn(one, first).read(0, LONG_WORK);
  await readInTurn(one, first).read(0, LONG_WORK);
  const waiting = readInTurn(other, second).read(0, LONG_WORK);
  await readInTurn(other, second).read(0, LONG_WORK - 1);
  await passed();
  expect([one.begun(), other.begun()]).toEqual([2, 1]);
  first.giveBack();
  await waiting;
  expect(other.begun()).toBe(2);
});

test('bit by bit is as long as at once, and what inflates is as long as it then is', async () => {
  const queue = slots(1);
  const before = turnOf(queue, signal);
  await before.take();
  const [one, other] = [source(), source()];
  const slow = readInTurn(one, turnOf(queue, signal));
  await slow.read(0, LONG_WORK / 2);
  const waiting = slow.read(0, LONG_WORK / 2);
  const packed = readInTurn(other, turnOf(queue, signal));
  await packed.read(0, 100);
  let inflated = false;
  const inflating = packed.inflates!(LONG_WORK).then(() => (inflated = true));
  await passed();
  expect([one.begun(), inflated]).toEqual([1, false]);
  before.giveBack();
  await waiting;
  expect([one.begun(), inflated]).toEqual([2, false]);
  // The first keeps its turn: the other waits for ever.
  void inflating;
});

test('who is cancelled while waiting holds nothing, and gives nothing back', async () => {
  const queue = slots(1);
  const first = turnOf(queue, signal);
  await first.take();
  const cancel = new AbortController();
  const second = turnOf(queue, cancel.signal);
  const waiting = second.take();
  cancel.abort(new Error('cancelled'));
  await expect(waiting).rejects.toThrow('cancelled');
  second.giveBack();
  const third = turnOf(queue, signal);
  let taken = false;
  void third.take().then(() => (taken = true));
  await passed();
  expect(taken).toBe(false);
  first.giveBack();
  await passed();
  expect(taken).toBe(true);
});

test('of a workspace, long blobs wait and short ones do not', async () => {
  const queue = slots(1);
  const before = turnOf(queue, signal);
  await before.take();
  const read: number[] = [];
  const services = { workspace: () => ({ getJson: async ({ size }: BlobReference) => read.push(size) }) } as unknown as Services;
  const turn = turnOf(queue, signal);
  const workspace = inTurn(turn, services).workspace(null);
  const long = workspace.getJson({ uri: 'file:///long', sha256: '', size: LONG_WORK });
  await workspace.getJson({ uri: 'file:///short', sha256: '', size: LONG_WORK - 1 });
  await passed();
  expect(read).toEqual([LONG_WORK - 1]);
  before.giveBack();
  await long;
  expect(read).toEqual([LONG_WORK - 1, LONG_WORK]);
});

test('the run that is further on comes first; of several as far, who came first', async () => {
  const queue = slots(1);
  const first = turnOf(queue, signal);
  await first.take();
  const order: string[] = [];
  const others = (['a0', 'b2', 'c1', 'd2'] as const).map((name) => {
    const turn = turnOf(queue, signal, Number(name[1]));
    void turn.take().then(() => order.push(name));
    return { name, turn };
  });
  first.giveBack();
  for (let given = 0; given < others.length; given++) {
    await passed();
    others.find(({ name }) => name === order.at(-1))!.turn.giveBack();
  }
  expect(order).toEqual(['b2', 'd2', 'c1', 'a0']);
});
