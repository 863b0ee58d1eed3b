/**
 * Where outputs go: one face for a disk and an S3 store, so that publishing reads the same for both.
 *
 * Invariant: what is written appears whole or not at all, and `identity` tells one version of it from every other.
 */
import { randomUUID } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { CheckpointSourceError } from '../../errors.ts';
import type { Layout } from '../../formats/layout.ts';
import type { Arrange } from '../../formats/safetensors/layout.ts';
import type { ByteSource, PinnedFile } from '../../model/byte-source.ts';
import type { Plan } from '../../model/plan.ts';
import type { Overflows, TensorDigests } from '../copy/copy.ts';
import { removeStale, rewriteAtomically } from '../local/atomic-file.ts';
import { isAbsent, localIdentity, localPath, localUri, regularText } from '../local/local-file.ts';
import { checkApart, isOf, markOf } from '../s3/conditions.ts';
import { copyOrder } from '../s3/copy-order.ts';
import { explainS3 } from '../s3/explain.ts';
import { cleanupLimit } from '../s3/grace.ts';
import { headOrNull } from '../s3/head.ts';
import { isS3, parseS3, parseS3Output, s3Uri } from '../s3/location.ts';
import { patiently } from '../s3/patience.ts';
import type { S3Port } from '../s3/port.ts';
import { publishS3 } from '../s3/publish-s3.ts';
import { readSmallS3, s3Identity } from '../s3/source.ts';
import { discardS3 } from '../s3/upload.ts';
import { writeLongS3 } from '../s3/write-long.ts';
import type { Storage } from '../storage/storage.ts';
import { StoreFault } from '../store-fault.ts';
import type { ResumableProgress } from './heartbeat.ts';
import { manifestPath } from './manifest.ts';
import type { Overwrite } from './overwrite.ts';
import { discardPartials, finishedAs, forgetPartials } from './partials.ts';
import { checkDestination, publishLocal } from './publish-local.ts';
import { checkRoomForAll, type SizedSet } from './room.ts';

export interface PublishedFile {
  readonly size: number;
  /** Null where not all bytes passed through us. */
  readonly sha256: string | null;
  /** SHA-256 of tensors, by their index in the layout; of none where not all bytes passed. */
  readonly tensors: TensorDigests;
  /** Values beyond the range of the dtype they were cast to. */
  readonly overflowed: Overflows;
  /** Bytes that the store copied itself. */
  readonly copied: number;
  /** What users should know of how it came there. */
  readonly warnings?: readonly string[];
  /** What the store or the disk said of it when it was written; `pinned` compares. */
  readonly identity: string;
}

/** A file as this stage wrote it. */
export interface Written {
  readonly uri: string;
  readonly identity: string;
  readonly token: string;
}

/** What pins a file. */
export interface Pinned {
  readonly size: number;
  readonly identity: string;
}

export interface PublishFile {
  readonly uri: string;
  readonly layout: Layout;
  readonly plan: Plan;
  readonly open: (file: PinnedFile) => Promise<ByteSource>;
  /** Marks what this stage of this run writes. */
  readonly token: string;
  /** Digest of all that the bytes follow from: what an earlier attempt finished is known again by both. */
  readonly content: string;
  readonly overwrite: Overwrite;
  readonly serverSideCopy: boolean;
  readonly resume: ResumableProgress | undefined;
  readonly onProgress: (progress: ResumableProgress) => void;
  readonly signal: AbortSignal;
}

export interface Destination {
  publish(file: PublishFile): Promise<PublishedFile>;
  /** Throws `CheckpointConfigError` where a file would take the place of one of these, which are read. */
  checkApart(uri: string, sources: readonly Pick<PinnedFile, 'uri'>[]): Promise<void>;
  /** Throws where there is no room for several files that are published one after the other; those that this stage has finished need none. */
  checkRoom(set: SizedSet): Promise<void>;
  /** Removes what attempts of a stage left of an output that is not complete. */
  discard(uri: string, token: string): Promise<void>;
  /** True if the output is what this stage wrote, and `settle` was not called for it yet. */
  wrote(uri: string, token: string): Promise<boolean>;
  /** Forgets who wrote the output; to be called once its manifest is written, or it is gone. */
  settle(uri: string, token: string): Promise<void>;
  /** A small file's text; null where there is none. */
  read(uri: string): Promise<string | null>;
  /** Gives what was said of it, as `publish` does. With a token it is known from the same text of another stage. */
  write(uri: string, text: string, token?: string): Promise<string>;
  /** The same of a text that comes in pieces and is never held as a whole. */
  writeLong(uri: string, chunks: AsyncIterable<string>, token?: string): Promise<string>;
  remove(uri: string): Promise<void>;
  /** Removes the file only if it is still the version in `file`. */
  removeWritten(file: Written): Promise<void>;
  /** What pins the file as it is now; null where there is none. */
  identity(uri: string): Promise<Pinned | null>;
  /** What pins the file if it is still the version in `file`; else null. */
  pinned(file: Written): Promise<Pinned | null>;
}

/** The place of an output as the manifest names it. */
export function outputUri(uri: string): string {
  return isS3(uri) ? s3Uri(parseS3Output(uri)) : localUri(uri);
}

/** The URI of a file beside another. */
export function siblingUri(uri: string, name: string): string {
  return uri.slice(0, uri.lastIndexOf('/') + 1) + (isS3(uri) ? name : encodeURIComponent(name));
}

/** The last part of an output's URI, as a name. */
export function nameOf(uri: string): string {
  const last = uri.slice(uri.lastIndexOf('/') + 1);
  return isS3(uri) ? last : decodeURIComponent(last);
}

/** The order of tensors for an output that its store can copy from some of a plan's files; undefined where it can from none. */
export function copyArrangement(storage: Storage, uri: string): Arrange | undefined {
  if (!isS3(uri)) return undefined;
  return (plan, order) => {
    const near = plan.files.map((file) => storage.sameStore(file.uri, uri));
    return near.includes(true) ? copyOrder(plan, order, (file) => near[file]!) : order;
  };
}

/** `signal` ends whatever is asked of a store; a disk answers soon enough. */
export function destinationOf(storage: Storage, uri: string, signal?: AbortSignal): Destination {
  return isS3(uri) ? s3Destination(storage, signal) : LOCAL;
}

const LOCAL: Destination = {
  async publish({ uri, layout, plan, open, token, content, overwrite, resume, onProgress, signal }) {
    const { partial, sha256 } = resume ?? {};
    const taken = resume === undefined || partial === undefined || sha256 === undefined ? {} : { resume: { ...resume, partial, sha256 } };
    return { ...(await publishLocal({ uri, layout, plan, open, token, content, overwrite, onProgress, signal, ...taken })), copied: 0 };
  },
  checkApart: (uri, sources) => checkDestination(localPath(uri), sources),
  checkRoom: checkRoomForAll,
  async discard(uri, token) {
    await discardPartials(localPath(uri), token);
    await removeStale(localPath(manifestPath(uri)));
  },
  wrote: async (uri, token) => (await finishedAs(localPath(uri), token)) !== null,
  async settle(uri, token) {
    await forgetPartials(localPath(uri), token);
    // Where nothing is written any more, nobody else would.
    await removeStale(localPath(manifestPath(uri)));
  },
  read: (uri) => regularText(localPath(uri)),
  write: (uri, text) => rewriteAtomically(localPath(uri), text),
  writeLong: (uri, chunks) => rewriteAtomically(localPath(uri), chunks),
  remove: (uri) => rm(localPath(uri), { force: true }),
  async removeWritten(file) {
    if ((await LOCAL.pinned(file)) !== null) await LOCAL.remove(file.uri);
  },
  async identity(uri) {
    const stats = await stat(localPath(uri), { bigint: true }).catch((cause: Error) => {
      if (isAbsent(cause)) return null;
      throw new CheckpointSourceError(`It cannot be told whether ${localPath(uri)} is there: ${cause.message}.`, uri, { cause });
    });
    return stats === null ? null : { size: Number(stats.size), identity: localIdentity(stats) };
  },
  async pinned({ uri, identity }) {
    const there = await LOCAL.identity(uri);
    return there?.identity === identity ? there : null;
  },
};

function s3Destination(storage: Storage, signal: AbortSignal | undefined): Destination {
  const { policy } = storage;

  async function explaining<T>(uri: string, doing: string, work: (port: S3Port) => Promise<T>): Promise<T> {
    const port = await storage.s3(uri);
    return work(port).catch(async (error: unknown) => {
      throw error instanceof StoreFault ? await explainS3(error, { port, location: parseS3(uri), doing, policy, signal }) : error;
    });
  }

  return {
    async publish({ serverSideCopy, ...file }) {
      const { uri } = file;
      const port = await storage.s3(uri);
      const { etag, ...published } = await publishS3({
        ...file,
        port,
        policy,
        memory: storage.memory,
        isNear: serverSideCopy ? (source) => storage.sameStore(source, uri) : null,
      });
      return { ...published, identity: etag };
    },
    checkApart: async (uri, sources) => checkApart(uri, sources),
    checkRoom: async () => undefined,
    discard: (uri, token) => explaining(uri, 'discarding', (port) => discardS3(port, uri, token, policy, signal)),
    wrote: (uri, token) =>
      explaining(uri, 'reading', async (port) => {
        const head = await headOrNull(port, parseS3(uri), policy, signal);
        return head !== null && isOf(head, token);
      }),
    settle: async () => undefined,
    read: (uri) => explaining(uri, 'reading', (port) => readSmallS3(port, parseS3(uri), policy, signal)),
    async write(uri, text, token) {
      const body = new TextEncoder().encode(text);
      const written = { mark: token === undefined ? '' : markOf({ token, content: '' }), condition: { kind: 'any' } } as const;
      return explaining(uri, 'writing', (port) =>
        patiently(policy, signal, body.length, (inner) => port.put(parseS3(uri), body, written, inner)),
      );
    },
    writeLong: (uri, chunks, token = '') =>
      explaining(uri, 'writing', (port) =>
        writeLongS3(port, parseS3(uri), { chunks, mark: markOf({ token, content: randomUUID() }) }, policy, signal),
      ),
    remove: (uri) => explaining(uri, 'removing', (port) => patiently(policy, signal, 0, (inner) => port.remove(parseS3(uri), inner))),
    removeWritten: ({ uri, identity, token }) =>
      explaining(uri, 'removing', async (port) => {
        // Also where a cancellation is why it goes: a manifest that stays would say that the output is complete.
        const limit = cleanupLimit(signal);
        const head = await headOrNull(port, parseS3(uri), policy, limit);
        // Another stage may have written the same bytes.
        const isOwn = head?.etag === identity && (!head.mark || isOf(head, token));
        if (isOwn) await patiently(policy, limit, 0, (inner) => port.remove(parseS3(uri), inner));
      }),
    identity: (uri) =>
      explaining(uri, 'reading', async (port) => {
        const head = await headOrNull(port, parseS3(uri), policy, signal);
        return head === null ? null : { size: head.size, identity: s3Identity(head) };
      }),
    pinned: ({ uri, identity, token }) =>
      explaining(uri, 'reading', async (port) => {
        const head = await headOrNull(port, parseS3(uri), policy, signal);
        // Of the same tag: of the same bytes. The mark is for stores that tell another tag at the end of an upload.
        const isOwn = head !== null && (head.etag === identity || isOf(head, token));
        return isOwn ? { size: head.size, identity: s3Identity(head) } : null;
      }),
  };
}
