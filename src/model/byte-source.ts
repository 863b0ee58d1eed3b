/**
 * The narrow waist for reading: everything that holds checkpoint bytes looks like this.
 *
 * Invariant: a read gives exactly the bytes asked for, of the file as it was pinned, or a typed error; never fewer, never a
 * mixture of two versions. Layers (counting, caching, retrying) wrap a source and are sources themselves.
 */
export interface ByteSource {
  /** Where it lies: `file:///…`, `s3://…`, `https://…`. Never holds a credential. */
  readonly uri: string;
  /** Size in bytes. */
  readonly size: number;
  /** What pins this version of the content: an ETag, a version id, or mtime and inode of a local file. */
  readonly identity: string;
  /** Names of the files that are a checkpoint together with it, itself among them: where the folder that holds them was asked for. */
  readonly set?: readonly string[];
  /** Exactly `length` bytes from `offset` in a fresh buffer. Meant for headers; throws `CheckpointLoadError` past the end. */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
  /** Fills all of `target` from `offset` without another copy. Meant for tensor bytes: the caller owns and reuses the memory. */
  readInto(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
  /**
   * Fills these one after the other from `offset`. There where every read is a request, so that neighbours which belong in different
   * places are one; see `readEach`.
   */
  readEach?(offset: number, targets: readonly Uint8Array[], signal?: AbortSignal): Promise<void>;
  /** Told before bytes that were read inflate to so many; resolves once they may. */
  inflates?(length: number): Promise<void>;
  close(): Promise<void>;
}

/** Fills these one after the other from `offset`, in one read where the source can do that. */
export async function readEach(source: ByteSource, offset: number, targets: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
  if (source.readEach !== undefined) return source.readEach(offset, targets, signal);
  let at = offset;
  for (const target of targets) {
    await source.readInto(at, target, signal);
    at += target.length;
  }
}

/** What pins a file in headers, plans and manifests, so that a later stage on another worker reads the same version. */
export interface PinnedFile {
  readonly uri: string;
  readonly size: number;
  readonly identity: string;
}

export function pin(source: ByteSource): PinnedFile {
  return { uri: source.uri, size: source.size, identity: source.identity };
}

/**
 * Opens a file of the same folder by its plain name (no separators). What lies outside the folder is never opened, whatever the
 * name says; a missing one is a `CheckpointNotFoundError`.
 */
export type OpenSibling = (name: string) => Promise<ByteSource>;

/** The folder of a URI, with the slash at its end. */
export function folderOf(uri: string): string {
  return uri.slice(0, uri.lastIndexOf('/') + 1);
}

/** The name of a URI in its folder, without a query; that of a key or a file has no escapes for what names of checkpoints are told by. */
export function nameOf(uri: string): string {
  return uri.slice(uri.lastIndexOf('/') + 1).replace(/[?#].*$/, '');
}

/** What people would name for it: of files that are a checkpoint together, their folder. */
export function askedFor({ uri, set }: Pick<ByteSource, 'uri' | 'set'>): string {
  return set === undefined ? uri : folderOf(uri);
}

/** The same source, whose reads end with `signal`, and with their own where they have one. */
export function sourceEndedBy(signal: AbortSignal, source: ByteSource): ByteSource {
  const both = (own: AbortSignal | undefined): AbortSignal =>
    own === undefined || own === signal ? signal : AbortSignal.any([signal, own]);
  return {
    uri: source.uri,
    size: source.size,
    identity: source.identity,
    ...(source.set === undefined ? {} : { set: source.set }),
    read: (offset, length, own) => source.read(offset, length, both(own)),
    readInto: (offset, target, own) => source.readInto(offset, target, both(own)),
    ...(source.readEach === undefined ? {} : { readEach: (offset, targets, own) => source.readEach!(offset, targets, both(own)) }),
    ...(source.inflates === undefined ? {} : { inflates: (length) => source.inflates!(length) }),
    close: () => source.close(),
  };
}

/** A part of a source as a source of its own; closing it closes nothing. */
export function partOf(source: ByteSource, start: number, size: number): ByteSource {
  const check = (offset: number, length: number): void => {
    if (offset < 0 || length < 0 || offset + length > size)
      throw new RangeError(`bytes ${offset} to ${offset + length} of a part of ${size} in ${source.uri}`);
  };
  return {
    uri: source.uri,
    size,
    identity: source.identity,
    async read(offset, length, signal) {
      check(offset, length);
      return source.read(start + offset, length, signal);
    },
    async readInto(offset, target, signal) {
      check(offset, target.length);
      return source.readInto(start + offset, target, signal);
    },
    ...(source.inflates === undefined ? {} : { inflates: (length) => source.inflates!(length) }),
    close: async () => undefined,
  };
}
