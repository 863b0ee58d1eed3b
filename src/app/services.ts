/** What a worker's stages get of this machine. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { openPinned } from '../io/local-file.ts';
import { openSource } from '../io/open.ts';
import { openWorkspace } from '../io/workspace.ts';
import type { Services } from '../../activities/services.ts';

export function createServices(): Services {
  return {
    workspace: (uri) => openWorkspace(uri ?? defaultWorkspace()),
    open: openSource,
    openPinned,
  };
}

/** `CKPT_WORKSPACE`, else a folder in the user's state folder, as XDG says. */
function defaultWorkspace(): string {
  const state = process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state');
  return process.env['CKPT_WORKSPACE'] ?? join(state, 'checkpoint-pipeline', 'workspace');
}
