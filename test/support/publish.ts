/** A checkpoint's bytes from a plan and a layout, and back: the real copier into memory, and the real publisher into a file. */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { Layout } from '../../src/formats/layout.ts';
import { layoutOutputs } from '../../src/formats/outputs.ts';
import { readHeader } from '../../src/formats/read-header.ts';
import { copyLayout } from '../../src/io/copy/copy.ts';
import { openLocalFile, openPinned } from '../../src/io/local/local-file.ts';
import { publishLocal } from '../../src/io/publish/publish-local.ts';
import type { ByteSource } from '../../src/model/byte-source.ts';
import { tensorBytes } from '../../src/model/dtype.ts';
import type { Format, Header } from '../../src/model/header.ts';
import type { LeftOut, Plan } from '../../src/model/plan.ts';

export async function headerOf(path: string): Promise<Header> {
  const source = await openLocalFile(path);
  return readHeader(source).finally(() => source.close());
}

export async function bytesOf(
  plan: Plan,
  layout: Layout,
  open: (file: Plan['files'][number]) => Promise<ByteSource> = openPinned,
): Promise<Buffer> {
  const bytes = Buffer.alloc(layout.size);
  await copyLayout({
    layout,
    plan,
    open,
    write: async (block, offset) => void bytes.set(block, offset),
    onProgress: () => undefined,
    signal: new AbortController().signal,
  });
  return bytes;
}

/** Dtype, shape and digest of the contiguous bytes of tensors, read by the copier. */
export async function digestsOf(
  plan: Plan,
  tensors: Plan['tensors'],
  open: () => Promise<ByteSource>,
): Promise<ReadonlyMap<string, unknown>> {
  const found = new Map<string, unknown>();
  for (const tensor of tensors) {
    const length = tensorBytes(tensor.dtype, tensor.shape);
    const layout: Layout = { format: 'one', size: length, tensors: [tensor], segments: [{ kind: 'tensor', index: 0, length }] };
    const bytes = length === 0 ? Buffer.alloc(0) : await bytesOf(plan, layout, open);
    found.set(tensor.name, { dtype: tensor.dtype, shape: tensor.shape, sha256: createHash('sha256').update(bytes).digest('hex') });
  }
  return found;
}

/** Publishes a plan's only file to `path`; gives what was left out. */
export async function publishFile(
  plan: Plan,
  path: string,
  { format, trainingState }: { readonly format: Format; readonly trainingState: boolean },
): Promise<readonly LeftOut[]> {
  const { files, dropped } = layoutOutputs(plan, { format, name: basename(path), shardSize: null, trainingState });
  await publishLocal({
    uri: path,
    layout: files[0]!.layout,
    plan,
    open: openPinned,
    token: 'test',
    content: path,
    overwrite: 'always',
    onProgress: () => undefined,
    signal: new AbortController().signal,
  });
  return dropped;
}
