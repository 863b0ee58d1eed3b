/** What a worker's stages get of this machine. */
import type { Services, Workspace } from '../../activities/services.ts';
import { CheckpointConfigError } from '../errors.ts';
import { openSource } from '../io/locations/open.ts';
import { destinationOf, outputUri } from '../io/publish/destination.ts';
import { isS3 } from '../io/s3/location.ts';
import { slots } from '../io/slots.ts';
import type { Storage } from '../io/storage/storage.ts';
import { inlineBlob, inlineValue } from '../io/workspace/inline-blob.ts';
import { recentValues, type RecentValues } from '../io/workspace/recent-values.ts';
import { openStoreWorkspace } from '../io/workspace/workspace-store.ts';
import type { WorkspaceChoice } from '../io/workspace/unwritable.ts';
import { openWorkspace } from '../io/workspace/workspace.ts';
import type { BlobReference } from '../model/context.ts';
import { isHttp } from '../model/scheme.ts';
import { DEFAULT_CAPACITY } from './capacity.ts';
import { readEnvironment } from './environment.ts';
import { unfenced } from './storage.ts';

const PROBE = { what: 'written before the first stage of runs, to see that the workspace can be reached' };
/** Milliseconds for which a workspace that could be written counts as one that can. */
const PROBE_HOLDS = 10_000;
/** Workspaces of which that is remembered. */
const PROBED_MOST = 100;

export interface ServicesOptions {
  /** The worker's own workspace; default: as the environment says. */
  readonly workspace?: string;
  /** Copies at a time in this process, from whichever task queue they come. */
  readonly transfers?: number;
  readonly transferQueue?: string | null;
}

export function createServices(
  storage: Storage,
  { workspace = readEnvironment().workspace, transfers = DEFAULT_CAPACITY.transfers, transferQueue = null }: ServicesOptions = {},
): Services {
  let own: Storage | undefined;
  const recent = recentValues();
  const reached = new Map<string, number>();
  return {
    storage,
    workspace: (uri, signal) => {
      const more = { recent, reached, signal };
      if (uri !== null) return fencedWorkspace(storage, uri, { ...more, choice: 'document' });
      return fencedWorkspace((own ??= unfenced(storage)), workspace, { ...more, choice: 'worker' });
    },
    open: (uri, signal, stall) => openSource(uri, storage, signal, stall),
    openPinned: (file, signal) => storage.openPinned(file, signal),
    // One that takes none of its own still gets those of workers that do not tell them apart.
    transfers: slots(Math.max(1, transfers)),
    longWork: slots(1),
    transferQueue,
    recent,
  };
}

/** One that an input names must lie inside the fence, as must every blob in its workspace: references come with the input, too. */
function fencedWorkspace(
  storage: Storage,
  uri: string,
  {
    recent,
    reached,
    signal,
    choice,
  }: {
    readonly recent: RecentValues;
    readonly reached: Map<string, number>;
    readonly signal: AbortSignal | undefined;
    readonly choice: WorkspaceChoice;
  },
): Workspace {
  const root = uri.replace(/\/+$/, '');
  const open = isS3(root) ? openStoreWorkspace(root, storage, signal) : openWorkspace(root, choice);
  const check = (): Promise<void> => storage.check(`${root}/blobs`);
  // By place and digest both.
  const keyOf = ({ uri, sha256 }: BlobReference): string => `${sha256} ${uri}`;
  // As the system will read it: what is spelt with `..` may lie anywhere, and this storage may know no fence.
  const below = (uri: string): string | null => {
    if (isS3(uri) !== isS3(root) || isHttp(uri)) return null;
    const place = outputUri(uri);
    return place.startsWith(`${outputUri(root)}/`) ? place : null;
  };
  return {
    async reach() {
      await check();
      const now = performance.now();
      if (now - (reached.get(root) ?? -Infinity) < PROBE_HOLDS) return;
      await open.putJson(PROBE);
      if (reached.size >= PROBED_MOST) reached.clear();
      reached.set(root, now);
    },
    async putJson(value) {
      const inline = inlineBlob(value);
      if (inline !== null) return inline;
      await check();
      const reference = await open.putJson(value);
      recent.keep(keyOf(reference), value, reference.size);
      return reference;
    },
    async getJson(reference) {
      const inline = inlineValue(reference);
      if (inline !== undefined) return inline;
      await check();
      const uri = below(reference.uri);
      if (uri === null)
        throw new CheckpointConfigError(
          `${reference.uri} does not lie in this worker's workspace ${root}. All workers of a queue must share one workspace.`,
        );
      const known = recent.get(keyOf(reference));
      if (known !== undefined) return known;
      const value = await open.getJson({ ...reference, uri });
      recent.keep(keyOf(reference), value, reference.size);
      return value;
    },
    forget: (reference) => recent.forget(keyOf(reference)),
    async writeFile(name, chunks) {
      await check();
      const uri = below(`${outputUri(root)}/${name}`);
      if (uri === null) throw new CheckpointConfigError(`${name} is not the name of a file in the workspace ${root}.`);
      await destinationOf(storage, uri, signal).writeLong(uri, chunks);
      return uri;
    },
    async openFile(uri) {
      const place = below(uri);
      if (place === null) return null;
      await check();
      return storage.open(place, signal);
    },
  };
}
