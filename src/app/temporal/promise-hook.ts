/** The workflow SDK's hook that looks at every promise, where workflows share their thread with all else. */
import { globalHandlers } from '@temporalio/worker/lib/workflow/vm-shared.js';

/**
 * Takes it away, once a worker with workflows in the main thread is made. It notes for each promise of a workflow where it was made, for
 * the call stack in the Temporal UI, which these workflows then lack; of all other promises it finds out, by code that it
 * evaluates twice per promise, that they are none of a workflow. With a transfer in the same thread that was a sixth of its time.
 */
export function stopPromiseHook(): void {
  // Private, but there is no other way: `uninstall` would also take away that stacks are told in lines of the workflows' sources.
  globalHandlers['stopPromiseHook']();
}
