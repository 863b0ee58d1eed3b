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

/** The same source for reading its header: who asks for much at once, a pickle or a directory of very many tensors, waits for the turn. */
export function readInTurn(source: ByteSource, turn: Turn): ByteSource {
  return {
    ...source,
    async read(offset, length, signal) {
      if (length >= LONG_WORK) await turn.take();
      return source.read(offset, length, signal);
    },
  };
}
