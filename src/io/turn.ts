/**
 * Turns of long work: reading a header of very many tensors holds the main thread for a second or more, and hundreds of MB. Many of
 * them side by side would hold up heartbeats and workflows until the server takes this process for lost, so one goes at a time.
 */
import type { ByteSource } from '../model/byte-source.ts';
import { LONG_WORK } from './breath.ts';
import type { Slots } from './slots.ts';

export interface Turn {
  /** Resolves once it is this one's turn, which it then keeps; where it has it, at once. */
  take(): Promise<void>;
  /** To the next; `take` may begin anew. */
  giveBack(): void;
}

/** The turn of one activity; `rank`: of a higher one sooner, as a run that is nearly done frees what it holds. */
export function turnOf(slots: Slots, signal: AbortSignal, rank = 0): Turn {
  let held: Promise<() => void> | undefined;
  return {
    async take() {
      await (held ??= slots.hold(signal, rank));
    },
    giveBack() {
      // Who waited in vain has none to give.
      held?.then(
        (release) => release(),
        () => undefined,
      );
      held = undefined;
    },
  };
}

/**
 * The same source for reading its header: who asks for much, a pickle or a directory of very many tensors, waits for the turn. Much at once or
 * bit by bit, and as read or inflated: a thousandth of a pickle may be all that is stored of it.
 */
export function readInTurn(source: ByteSource, turn: Turn): ByteSource {
  let taken = 0;
  const takes = async (length: number): Promise<void> => {
    taken += length;
    if (taken >= LONG_WORK) await turn.take();
  };
  return {
    ...source,
    async read(offset, length, signal) {
      await takes(length);
      return source.read(offset, length, signal);
    },
    inflates: takes,
  };
}
