/** What a worker's stages get of this machine. */
import { CheckpointConfigError } from '../errors.ts';
import { openSource } from '../io/open.ts';
import type { Storage } from '../io/storage/storage.ts';
import { slots } from '../io/slots.ts';
import { openWorkspace } from '../io/workspace.ts';
import { localUri } from '../io/local-file.ts';
import type { Services, Workspace } from '../../activities/services.ts';
import { readEnvironment } from './environment.ts';

/** Copies at a time in one process: with up to 100 MiB each (a strided tensor's window, the blocks in flight) they stay below half a GiB. */
const TRANSFERS = 4;

export function createServices(storage: Storage, { workspace }: { readonly workspace: string } = readEnvironment()): Services {
  return {
    storage,
    workspace: (uri) => fencedWorkspace(storage, uri, workspace),
    open: (uri, signal) => openSource(uri, storage, signal),
    openPinned: (file) => storage.openPinned(file),
    transfers: slots(TRANSFERS),
  };
}

/** One that an input names must lie inside the fence, as must every blob in its workspace: references come with the input, too. */
function fencedWorkspace(storage: Storage, named: string | null, own: string): Workspace {
  const root = named ?? own;
  const open = openWorkspace(root);
  const check = async (): Promise<void> => (named === null ? undefined : storage.check(named));
  return {
    async putJson(value) {
      await check();
      return open.putJson(value);
    },
    async getJson(reference) {
      await check();
      const { uri } = reference;
      if (!localUri(uri).startsWith(`${localUri(root)}/`))
        throw new CheckpointConfigError(
          `${uri} does not lie in this worker's workspace ${root}. All workers of a queue must share one workspace.`,
        );
      return open.getJson(reference);
    },
  };
}
