/**
 * Where outputs go: one face for a disk and an S3 store, so that publishing reads the same for both.
 *
 * Invariant: what is written appears whole or not at all, and `identity` tells one version of it from every other.
 */
import { readFile, rm, stat } from 'node:fs/promises';
import { CheckpointConfigError } from '../errors.ts';
import type { Layout } from '../formats/layout.ts';
import type { ByteSource, PinnedFile } from '../model/byte-source.ts';
import type { Plan } from '../model/plan.ts';
import { writeAtomically } from './atomic-file.ts';
import type { Overflows } from './copy.ts';
import type { ResumableProgress } from './heartbeat.ts';
import { localIdentity, localPath, localUri } from './local-file.ts';
import { discardPartials, publishLocal } from './publish-local.ts';
import { explainS3 } from './s3/explain.ts';
import { isS3, parseS3, s3Uri } from './s3/location.ts';
import { discardS3, publishS3, type Overwrite } from './s3/publish-s3.ts';
import { readSmallS3, s3Identity } from './s3/source.ts';
import { writeLongS3 } from './s3/write-long.ts';
import type { S3Port } from './s3/port.ts';
import type { Storage } from './storage/storage.ts';
import { StoreFault } from './store-fault.ts';
import { retrying, type RetryPolicy } from './retry.ts';

export interface PublishedFile {
  readonly size: number;
  /** Null where not all bytes passed through us. */
  readonly sha256: string | null;
  /** SHA-256 of tensors, by their index in the layout; of none where not all bytes passed. */
  readonly tensors: ReadonlyMap<number, string>;
  /** Values beyond the range of the dtype they were cast to. */
  readonly overflowed: Overflows;
  /** Bytes that the store copied itself. */
  readonly copied: number;
}

export interface PublishFile {
  readonly uri: string;
  readonly layout: Layout;
  readonly plan: Plan;
  readonly open: (file: PinnedFile) => Promise<ByteSource>;
  /** Marks what this stage of this run writes. */
  readonly token: string;
  readonly overwrite: Overwrite;
  readonly serverSideCopy: boolean;
  readonly resume: ResumableProgress | undefined;
  readonly onProgress: (progress: ResumableProgress) => void;
  readonly signal: AbortSignal;
}

export interface Destination {
  publish(file: PublishFile): Promise<PublishedFile>;
  /** Removes what attempts of a stage left. */
  discard(uri: string, token: string): Promise<void>;
  /** A small file's text; null where there is none. */
  read(uri: string): Promise<string | null>;
  write(uri: string, text: string): Promise<void>;
  /** A text that comes in pieces and is never held as a whole. */
  writeLong(uri: string, chunks: AsyncIterable<string>): Promise<void>;
  remove(uri: string): Promise<void>;
  /** What pins the file as it is now; null where there is none. */
  identity(uri: string): Promise<{ readonly size: number; readonly identity: string } | null>;
}

/** The place of an output as the manifest names it. */
export function outputUri(uri: string): string {
  return isS3(uri) ? s3Uri(parseS3(uri)) : localUri(uri);
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

export function destinationOf(storage: Storage, uri: string): Destination {
  return isS3(uri) ? s3Destination(storage) : LOCAL;
}

const LOCAL: Destination = {
  async publish({ uri, layout, plan, open, token, overwrite, resume, onProgress, signal }) {
    if (overwrite === 'never' && (await stat(localPath(uri)).catch(() => null)) !== null)
      throw new CheckpointConfigError(`${uri} exists, and \`overwrite\` is never. Choose another \`uri\`, or remove it first.`, undefined, {
        details: { reason: 'exists' },
      });
    const { partial, sha256 } = resume ?? {};
    const taken = resume === undefined || partial === undefined || sha256 === undefined ? {} : { resume: { ...resume, partial, sha256 } };
    return { ...(await publishLocal({ uri, layout, plan, open, token, onProgress, signal, ...taken })), copied: 0 };
  },
  discard: (uri, token) => discardPartials(uri, token),
  read: (uri) => readFile(localPath(uri), 'utf8').catch(() => null),
  write: (uri, text) => writeAtomically(localPath(uri), text),
  writeLong: (uri, chunks) => writeAtomically(localPath(uri), chunks),
  remove: (uri) => rm(localPath(uri), { force: true }),
  async identity(uri) {
    const stats = await stat(localPath(uri), { bigint: true }).catch(() => null);
    return stats === null ? null : { size: Number(stats.size), identity: localIdentity(stats) };
  },
};

function s3Destination(storage: Storage): Destination {
  const { policy } = storage;

  async function explaining<T>(
    uri: string,
    permission: string,
    doing: string,
    work: (port: S3Port) => Promise<T>,
    own: Partial<RetryPolicy> = {},
  ): Promise<T> {
    const port = await storage.s3(uri);
    try {
      return await retrying({ ...policy, ...own }, undefined, () => work(port));
    } catch (error) {
      throw error instanceof StoreFault ? await explainS3(error, { port, location: parseS3(uri), doing, permission, policy }) : error;
    }
  }

  return {
    async publish({ uri, layout, plan, open, token, overwrite, serverSideCopy, onProgress, signal }) {
      const port = await storage.s3(uri);
      return publishS3({
        port,
        policy,
        budget: storage.budget,
        uri,
        layout,
        plan,
        open,
        token,
        overwrite,
        isNear: serverSideCopy ? (source) => storage.sameStore(source, uri) : null,
        onProgress,
        signal,
      });
    },
    discard: async (uri, token) => discardS3(await storage.s3(uri), uri, token),
    read: (uri) => explaining(uri, 's3:GetObject', 'reading', (port) => readSmallS3(port, parseS3(uri), { ...policy, tries: 1 })),
    async write(uri, text) {
      const body = new TextEncoder().encode(text);
      await explaining(uri, 's3:PutObject', 'writing', (port) => port.put(parseS3(uri), body, { mark: '', condition: { kind: 'any' } }));
    },
    writeLong: (uri, chunks) =>
      // What has come in pieces cannot come again.
      explaining(uri, 's3:PutObject', 'writing', (port) => writeLongS3(port, parseS3(uri), chunks, policy), { tries: 1 }),
    remove: (uri) => explaining(uri, 's3:DeleteObject', 'removing', (port) => port.remove(parseS3(uri))),
    identity: (uri) =>
      explaining(uri, 's3:GetObject', 'reading', async (port) => {
        const head = await port.head(parseS3(uri), { checksum: false }).catch((error: unknown) => {
          if (error instanceof StoreFault && error.status === 404) return null;
          throw error;
        });
        return head === null ? null : { size: head.size, identity: s3Identity(head) };
      }),
  };
}
