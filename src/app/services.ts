/** What a worker's stages get of this machine. */
import { openPinned } from '../io/local-file.ts';
import { openSource } from '../io/open.ts';
import { slots } from '../io/slots.ts';
import { openWorkspace } from '../io/workspace.ts';
import type { Services } from '../../activities/services.ts';
import { readEnvironment } from './environment.ts';

/** Copies at a time in one process: with up to 100 MiB each (a strided tensor's window, the blocks in flight) they stay below half a GiB. */
const TRANSFERS = 4;

export function createServices({ workspace } = readEnvironment()): Services {
  return {
    workspace: (uri) => openWorkspace(uri ?? workspace),
    open: openSource,
    openPinned,
    transfers: slots(TRANSFERS),
  };
}
