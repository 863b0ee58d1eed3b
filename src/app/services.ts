/** What a worker's stages get of this machine. */
import { openPinned } from '../io/local-file.ts';
import { openSource } from '../io/open.ts';
import { openWorkspace } from '../io/workspace.ts';
import type { Services } from '../../activities/services.ts';
import { readEnvironment } from './environment.ts';

export function createServices({ workspace } = readEnvironment()): Services {
  return {
    workspace: (uri) => openWorkspace(uri ?? workspace),
    open: openSource,
    openPinned,
  };
}
