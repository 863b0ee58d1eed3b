/** The bench's inputs are what torch and Lightning would have written: another reader agrees, and so does ours. */
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import yauzl from 'yauzl';
import { provideInput, RECIPES } from '../../bench/inputs/recipes.ts';
import { readHeader } from '../../src/formats/read-header.ts';
import { openLocalFile } from '../../src/io/local/local-file.ts';
import { tensorBytes } from '../../src/model/dtype.ts';
import type { Header } from '../../src/model/header.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-bench-inputs-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function headerOf(path: string): Promise<Header> {
  const source = await openLocalFile(path);
  return readHeader(source).finally(() => source.close());
}

const silent = (): void => undefined;

test('the Lightning checkpoint has four storages a weight, and training state as Lightning names it', async () => {
  const input = await provideInput(folder, RECIPES.quick.lightning, silent);
  const header = await headerOf(input.path);
  expect(header.format).toBe('lightning');
  expect(header.weights).toHaveLength(input.tensors);
  expect(header.storages).toHaveLength(4 * input.tensors);
  expect(header.training).toMatchObject({ epoch: 11, global_step: 120_000, has_optimizer: true, has_scheduler: true, has_callbacks: true });
  const bytes = header.weights.reduce((sum, { tensor }) => sum + tensorBytes('F32', header.tensors[tensor]!.shape), 0);
  expect(bytes).toBe(input.weightBytes);
  expect(header.findings).toEqual([]);
});

test('the full recipe has the members and sizes that the budgets speak of', () => {
  const { layers, width, vocabulary } = RECIPES.full.lightning;
  const tensors = 12 * layers + 2;
  // data.pkl, .format_version, .storage_alignment, byteorder, version, .data/serialization_id
  expect(4 * tensors + 6).toBe(782);
  const weights = layers * (12 * width * width + 13 * width) + vocabulary * width + width;
  expect(weights * 4).toBe(680_326_400);
});

test('every member is stored at a multiple of 64 with a right CRC-32', async () => {
  const { path } = await provideInput(folder, RECIPES.quick.lightning, silent);
  const bytes = await readFile(path);
  const archive = await yauzl.fromBufferPromise(bytes);
  const members = new Map<string, Buffer>();
  for await (const entry of archive.eachEntry()) {
    const chunks: Buffer[] = [];
    for await (const chunk of await archive.openReadStreamPromise(entry)) chunks.push(chunk as Buffer);
    members.set(entry.fileName, Buffer.concat(chunks));
    expect(crc32(members.get(entry.fileName)!)).toBe(entry.crc32);
  }
  expect(members.size).toBe(4 * 26 + 6);
  expect(members.get('archive/byteorder')!.toString()).toBe('little');
  const header = await headerOf(path);
  for (const { location, length } of header.storages) {
    if (location.kind !== 'member') throw new Error('torch zip holds members');
    const data = location.header + 30 + bytes.readUInt16LE(location.header + 26) + bytes.readUInt16LE(location.header + 28);
    expect([location.method, data % 64, bytes.readUInt16LE(location.header + 6)]).toEqual(['stored', 0, 0x808]);
    expect(bytes.readUInt32LE(data + length)).toBe(0x08074b50);
  }
});

test('a state dict and a safetensors file hold the same names in the same order', async () => {
  const zip = await provideInput(folder, RECIPES.quick['many-zip'], silent);
  const safetensors = await provideInput(folder, RECIPES.quick['many-safetensors'], silent);
  const names = (header: Header): readonly string[] => header.weights.map(({ name }) => name).toSorted();
  expect(names(await headerOf(zip.path))).toEqual(names(await headerOf(safetensors.path)));
  expect(zip.tensors).toBe(500);
});

test('an input is made once, whole, and found again', async () => {
  const first = await provideInput(folder, RECIPES.quick.tiny, silent);
  const before = await stat(first.path);
  const said: string[] = [];
  expect(await provideInput(folder, RECIPES.quick.tiny, (line) => said.push(line))).toEqual(first);
  expect(said).toEqual([]);
  expect((await stat(first.path)).mtimeMs).toBe(before.mtimeMs);
  expect((await readdir(folder)).filter((name) => name.endsWith('.partial'))).toEqual([]);
  const content = await readFile(first.path);
  await rm(first.path);
  await provideInput(folder, RECIPES.quick.tiny, silent);
  expect((await readFile(first.path)).equals(content)).toBe(true);
});
