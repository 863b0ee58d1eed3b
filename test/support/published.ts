/** A checkpoint's header, and its weights as the published file has them. */
import { randomUUID } from 'node:crypto';
import { isCheckpointError } from '../../src/errors.ts';
import { readHeader } from '../../src/formats/read-header.ts';
import { layoutSafetensors } from '../../src/formats/safetensors/layout.ts';
import type { Copied } from '../../src/io/copy/copy.ts';
import { localPath, openPinned } from '../../src/io/local/local-file.ts';
import { openSource } from '../../src/io/locations/open.ts';
import { siblingsOf } from '../../src/io/locations/siblings.ts';
import { forgetPartials } from '../../src/io/publish/partials.ts';
import { publishLocal } from '../../src/io/publish/publish-local.ts';
import type { Header } from '../../src/model/header.ts';
import { selectWeights } from '../../src/transform/select-weights.ts';

export async function headerOf(uri: string): Promise<Header> {
  const source = await openSource(uri);
  return readHeader(source, siblingsOf(source.uri, openSource)).finally(() => source.close());
}

/** `tensors`: digest of each by its name. */
type Published = Omit<Copied, 'tensors'> & { readonly tensors: Readonly<Record<string, string>> };

export async function publish(header: Header, target: string): Promise<Published> {
  const plan = selectWeights(header, { skipUnsupported: false });
  const layout = layoutSafetensors(plan);
  const { tensors, ...copied } = await publishLocal({
    uri: target,
    layout,
    plan,
    open: openPinned,
    token: 'test',
    content: randomUUID(),
    overwrite: 'if_changed',
    onProgress: () => undefined,
    signal: new AbortController().signal,
  });
  // As whoever has written the manifest does.
  await forgetPartials(localPath(target), 'test');
  return { ...copied, tensors: Object.fromEntries(tensors.map((sha256, index) => [layout.tensors[index]!.name, sha256!])) };
}

/** The report of a refusal; throws what is not a typed error, and fails where there was none. */
export async function refusal(what: Promise<unknown>): Promise<{ readonly code: string; readonly message: string }> {
  const error: unknown = await what.then(
    () => new Error('was not refused'),
    (thrown: unknown) => thrown,
  );
  if (!isCheckpointError(error)) throw error;
  return { code: error.code, message: error.message };
}
