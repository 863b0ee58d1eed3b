import { expect, test } from '@jest/globals';
import { boundedSlots } from '../../src/app/slot-supplier.ts';

const CONTEXT = {} as Parameters<ReturnType<typeof boundedSlots>['reserveSlot']>[0];
const never = new AbortController().signal;

test('no more than there are, and one that is given back is had again', async () => {
  const slots = boundedSlots(2, () => false);
  await slots.reserveSlot(CONTEXT, never);
  const permit = slots.tryReserveSlot(CONTEXT)!;
  expect(slots.tryReserveSlot(CONTEXT)).toBeNull();
  const third = slots.reserveSlot(CONTEXT, never);
  slots.releaseSlot({ permit });
  expect(await third).toBeDefined();
});

test('above the bound one at a time; below it again, all', async () => {
  let full = true;
  const slots = boundedSlots(3, () => full);
  const first = await slots.reserveSlot(CONTEXT, never);
  expect(slots.tryReserveSlot(CONTEXT)).toBeNull();
  slots.releaseSlot({ permit: first });
  await slots.reserveSlot(CONTEXT, never);
  const waiting = slots.reserveSlot(CONTEXT, never);
  full = false;
  expect(await waiting).toBeDefined();
  expect(slots.tryReserveSlot(CONTEXT)).not.toBeNull();
});

test('who waits is let go with the reason that the SDK gave', async () => {
  const abort = new AbortController();
  const slots = boundedSlots(0, () => false);
  const waiting = slots.reserveSlot(CONTEXT, abort.signal);
  const reason = new Error('shut down');
  abort.abort(reason);
  await expect(waiting).rejects.toBe(reason);
});
