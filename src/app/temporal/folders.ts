/** Where things of ours lie on a machine, as XDG says. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export function stateFolder(): string {
  return join(process.env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'checkpoint-pipeline');
}

export function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'checkpoint-pipeline');
}
