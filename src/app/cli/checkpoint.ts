/** A checkpoint that a command looks at: its header, and its tensors' bytes if asked for. */
import { resolve } from 'node:path';
import { readHeader } from '../../formats/read-header.ts';
import { checkArchives } from '../../io/copy/check-archives.ts';
import { digestTensors, type DigestOptions } from '../../io/digests/digest-tensors.ts';
import { openSource } from '../../io/locations/open.ts';
import { siblingsOf } from '../../io/locations/siblings.ts';
import { askedFor } from '../../model/byte-source.ts';
import type { Header, Tensor } from '../../model/header.ts';
import { configuredStorage } from '../storage.ts';
import { callerFolder } from './paths.ts';

export interface Checkpoint {
  readonly uri: string;
  /** What people name for it. */
  readonly name: string;
  readonly size: number;
  readonly header: Header;
}

/** Reads the header of a path or URI as the user wrote it; `stateDictKey` as in a source stage. */
export async function readCheckpoint(location: string, stateDictKey?: string): Promise<Checkpoint> {
  const storage = await configuredStorage({ inputs: 'own' });
  const source = await openSource(absoluteUri(location), storage);
  try {
    // Siblings are closed by who reads them.
    const header = await readHeader(
      source,
      siblingsOf(source.uri, (sibling) => openSource(sibling, storage)),
      { stateDictKey },
    );
    return { uri: source.uri, name: askedFor(source), size: source.size, header };
  } finally {
    await source.close();
  }
}

function absoluteUri(location: string): string {
  return location.includes('://') ? location : resolve(callerFolder(), location);
}

/** SHA-256 of tensors of a header, in order, read as they would be published. */
export async function digestsOf(
  header: Header,
  tensors: readonly { readonly name: string; readonly tensor: Tensor }[],
  { rests = 'small', onBytes }: Pick<DigestOptions, 'rests' | 'onBytes'> = {},
): Promise<readonly string[]> {
  const storage = await configuredStorage({ inputs: 'own' });
  return digestTensors({
    tensors: tensors.map(({ name, tensor }) => ({ name, dtype: tensor.dtype, shape: tensor.shape, origin: tensor })),
    plan: header,
    open: (file) => storage.openPinned(file),
    signal: new AbortController().signal,
    rests,
    ...(onBytes === undefined ? {} : { onBytes }),
  });
}

/** Throws where an archive is not what its directory says of it, beyond the storages `compared`, whose bytes were all read. */
export async function checkWholeArchives(header: Header, compared: ReadonlySet<number>): Promise<void> {
  const storage = await configuredStorage({ inputs: 'own' });
  await checkArchives(header, (file) => storage.openPinned(file), compared);
}
