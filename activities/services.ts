/** What stages need of the outside; made once per worker, in `src/app`. */
import { LONG_WORK } from '../src/io/breath.ts';
import type { Slots } from '../src/io/slots.ts';
import type { Storage } from '../src/io/storage/storage.ts';
import type { Turn } from '../src/io/turn.ts';
import type { RecentValues } from '../src/io/workspace/recent-values.ts';
import { sourceEndedBy, type ByteSource, type PinnedFile } from '../src/model/byte-source.ts';
import type { BlobReference } from '../src/model/context.ts';

export interface Workspace {
  /** Throws where nothing can be written there; holds for some seconds, as a batch asks it for each item. */
  reach(): Promise<void>;
  putJson(value: unknown): Promise<BlobReference>;
  getJson(reference: BlobReference): Promise<unknown>;
  /** A blob that another takes the place of is not read again: it need not be held ready. */
  forget(reference: BlobReference): void;
  /** Writes a file that people look for by its name, from pieces; gives its URI. */
  writeFile(name: string, chunks: AsyncIterable<string>): Promise<string>;
  /** Such a file; null where the URI is of another place. */
  openFile(uri: string): Promise<ByteSource | null>;
}

export interface Services {
  /** `null`: the worker's own workspace. */
  workspace(uri: string | null, signal?: AbortSignal): Workspace;
  /** Opens a path or URI as it is now; `stall` as `Storage` takes it. */
  open(uri: string, signal?: AbortSignal, stall?: number): Promise<ByteSource>;
  /** Opens the version that was pinned, or throws `CheckpointSourceError`. */
  openPinned(file: PinnedFile, signal?: AbortSignal): Promise<ByteSource>;
  /** The places this worker can reach, and may. */
  readonly storage: Storage;
  /** Refuse a source that names classes on no list of harmless ones, also where no weight depends on them. */
  readonly refuseUnknown?: boolean;
  /** Turns of copying: each holds some tens of MiB. */
  readonly transfers: Slots;
  /** Turns of working on headers and plans of very many tensors. */
  readonly longWork: Slots;
  /** The task queue of activities that move bytes; null: the run's own. */
  readonly transferQueue: string | null;
  /** What this process holds ready for the next stage. */
  readonly recent: RecentValues;
}

/** The same, where a stage waits for its turn before it takes a header or plan of very many tensors. */
export function inTurn(turn: Turn, services: Services): Services {
  return {
    ...services,
    workspace: (uri, signal) => {
      const workspace = services.workspace(uri, signal);
      return {
        ...workspace,
        async getJson(reference) {
          if (reference.size >= LONG_WORK) await turn.take();
          return workspace.getJson(reference);
        },
      };
    },
  };
}

/** The same, with everything that is asked of a store ended by the signal: so a cancellation reaches whatever a stage waits for. */
export function endedBy(signal: AbortSignal, services: Services): Services {
  return {
    ...services,
    workspace: (uri) => services.workspace(uri, signal),
    open: async (uri, _, stall) => sourceEndedBy(signal, await services.open(uri, signal, stall)),
    openPinned: async (file) => sourceEndedBy(signal, await services.openPinned(file, signal)),
  };
}
