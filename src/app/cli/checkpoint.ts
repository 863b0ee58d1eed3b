/** A checkpoint that a command looks at: its header, and its tensors' bytes if asked for. */
import { resolve } from 'node:path';
import { readHeader } from '../../formats/read-header.ts';
import { checkDescriptors } from '../../io/copy/check-descriptors.ts';
import { digestTensors } from '../../io/digests/digest-tensors.ts';
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
  onBytes?: (index: number, bytes: Uint8Array) => void,
): Promise<readonly string[]> {
  const storage = await configuredStorage({ inputs: 'own' });
  return digestTensors({
    tensors: tensors.map(({ name, tensor }) => ({ name, dtype: tensor.dtype, shape: tensor.shape, origin: tensor })),
    plan: header,
    open: (file) => storage.openPinned(file),
    signal: new AbortController().signal,
    ...(onBytes === undefined ? {} : { onBytes }),
  });
}

/** Throws where an archive's records of its tensors disagree, beyond what reading them looks at. */
export async function checkArchives(header: Header): Promise<void> {
  const storage = await configuredStorage({ inputs: 'own' });
  await checkDescriptors(header, (file) => storage.openPinned(file));
}
