/** A bit that is another than what was archived: told whatever is made of the bytes, and however they are read. */
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Layout } from '../../../src/formats/layout.ts';
import { copyLayout } from '../../../src/io/copy/copy.ts';
import { layoutRange } from '../../../src/io/copy/layout-range.ts';
import { openFiles } from '../../../src/io/copy/open-files.ts';
import type { RestsRead } from '../../../src/io/copy/rest-budget.ts';
import { publishLocal, type PartialProgress } from '../../../src/io/publish/publish-local.ts';
import type { ByteSource } from '../../../src/model/byte-source.ts';
import type { Dtype } from '../../../src/model/dtype.ts';
import type { Plan } from '../../../src/model/plan.ts';
import { bytesShown, flipped, layoutOf, stocked, type Stored, type View } from '../../support/damaged.ts';
import { noise } from '../../support/memory-source.ts';

const MIB = 2 ** 20;
const never = new AbortController().signal;

async function copied(
  { layout, plan }: { readonly layout: Layout; readonly plan: Plan },
  open: () => Promise<ByteSource>,
  { block, rests }: { readonly block?: number; readonly rests?: RestsRead } = {},
): Promise<Buffer> {
  const bytes = Buffer.alloc(layout.size);
  await copyLayout({
    layout,
    plan,
    open,
    signal: never,
    onProgress: () => undefined,
    write: async (written, offset) => void bytes.set(written, offset),
    ...(rests === undefined ? {} : { rests }),
    ...(block === undefined ? {} : { memory: Array.from({ length: 3 }, () => new Uint8Array(block)) }),
  });
  return bytes;
}

/** Numbers without NaN, which casts change. */
function numbers(elements: number): Uint8Array {
  return new Uint8Array(Float32Array.from({ length: elements }, (_, index) => Math.sin(index) * 100).buffer);
}

const storage = (elements: number): readonly Stored[] => [{ bytes: numbers(elements) }];
const f32 = (...shape: number[]) => ({ dtype: 'F32' as const, shape });

const CASES: Readonly<Record<string, readonly [readonly Stored[], Readonly<Record<string, View>>]>> = {
  'a whole tensor': [storage(4096), { w: f32(64, 64) }],
  'one that is cast': [storage(4096), { w: { ...f32(64, 64), cast: 'BF16' } }],
  'a transposed one': [storage(2048), { w: { ...f32(32, 64), stride: [1, 32] } }],
  'one in channels_last': [storage(600), { w: { ...f32(8, 3, 5, 5), stride: [75, 1, 15, 3] } }],
  'a conjugated one': [storage(48), { w: { dtype: 'C64', shape: [6, 4], conjugate: true } }],
  'a negated one': [storage(48), { w: { ...f32(48), negative: true } }],
  'slices of one storage': [
    storage(3 * 4096),
    { q: f32(64, 64), k: { ...f32(64, 64), offset: 4096 }, v: { ...f32(64, 64), offset: 8192 } },
  ],
  'slices that lie over each other': [storage(300), { a: f32(200), b: { ...f32(200), offset: 100 } }],
  'columns of one matrix': [
    storage(6400),
    { a: { ...f32(64, 50), stride: [100, 1] }, b: { ...f32(64, 50), stride: [100, 1], offset: 50 } },
  ],
  'the start of a storage': [storage(100), { w: f32(90) }],
  'the end of a storage': [storage(100), { w: { ...f32(90), offset: 10 } }],
  'the start of a large storage': [storage(400_000), { w: f32(200_000), v: f32(100_000) }],
  'tied tensors': [storage(64), { a: f32(64), b: f32(64) }],
  'a tensor tied to its transposed view': [storage(64), { a: f32(8, 8), b: { ...f32(8, 8), stride: [1, 8] } }],
  'one of the other byte order': [[{ bytes: numbers(500), byteOrder: 'big' }], { w: f32(500) }],
  'every second element': [storage(200), { w: { ...f32(100), stride: [2] } }],
  'one in a deflated member': [[{ bytes: numbers(500), deflated: true }], { w: f32(500) }],
  'the start of a deflated member': [[{ bytes: numbers(200_000), deflated: true }], { w: f32(100), v: { ...f32(100), offset: 50 } }],
  'one element, expanded': [storage(8), { w: { ...f32(30), stride: [0], offset: 3 } }],
};

describe.each(Object.entries(CASES))('%s', (_, [storages, views]) => {
  describe.each(['file:///w.pt', 's3://bucket/w.pt'])('at %s', (uri) => {
    test.each(['safetensors', 'state_dict'] as const)('with any bit changed is refused for %s, and as it was is taken', async (format) => {
      const stock = await stocked(storages, views, uri);
      const made = layoutOf(stock, format);
      const bytes = await copied(made, stock.open);
      expect(bytes.length).toBe(made.layout.size);
      const [{ bytes: content, deflated = false }] = storages as readonly [Stored];
      const size = deflated ? stock.plan.storages[0]!.location : undefined;
      const length = size?.kind === 'member' ? size.stored : content.length;
      // The last bits of a deflate stream say nothing.
      for (const byte of [0, Math.floor(length / 3), Math.floor(length / 2), length - (deflated ? 2 : 1)]) {
        const refusal = copied(made, flipped(stock, 0, byte));
        await expect(refusal).rejects.toMatchObject({ code: 'CheckpointLoadError', message: expect.stringContaining(`${uri}`) });
        if (!deflated)
          await expect(refusal).rejects.toThrow(
            /: the bytes of (w|a|a, b|q, k, v|v, w|w, v) are damaged: CRC-32 of the member m\/data\/0 is /,
          );
      }
    });
  });
});

test('every tensor of a damaged member is named, of many some', async () => {
  const views = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`t${index}`, { ...f32(10), offset: 10 * index }]));
  const stock = await stocked(storage(600), views);
  const error: unknown = await copied(layoutOf(stock, 'safetensors'), flipped(stock, 0, 77)).catch((failure: unknown) => failure);
  expect(error).toMatchObject({
    message: expect.stringMatching(
      /^file:\/\/\/w\.pt: the bytes of (t\d+, ){4}t\d+ and 55 more are damaged: .* Copy the file again from where it came\.$/,
    ),
    details: { tensor: expect.any(String), member: 'm/data/0', tensors: expect.any(Array) },
  });
  expect((error as { details: { tensors: string[] } }).details.tensors).toHaveLength(50);
});

describe('of a member that is shown in part', () => {
  const PART = { w: f32(MIB / 4) };

  test.each([
    ['a rest of 3 MiB is read for its sum', 4, 'small', true],
    ['one of 7 MiB is left, and damage stays unseen', 8, 'small', false],
    ['which `verify` reads, too', 8, 'all', true],
    ['and where others have seen to it, none is', 2, 'none', false],
  ] as const)('%s', async (_, size, rests, isSeen) => {
    const stock = await stocked([{ bytes: noise(size * MIB) }], PART);
    const made = layoutOf(stock, 'safetensors');
    await copied(made, stock.open, { rests });
    for (const byte of isSeen ? [1000, size * MIB - 1] : [1000]) {
      const outcome = await copied(made, flipped(stock, 0, byte), { rests }).then(
        () => null,
        (error: { code: string }) => error.code,
      );
      expect(outcome).toBe(isSeen ? 'CheckpointLoadError' : null);
    }
  });

  test('rests of very many members are read up to a sixteenth of the output, or 64 MiB', async () => {
    const views = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`t${index}`, { ...f32(10), storage: index }]));
    const content = noise(4 * MIB);
    const stock = await stocked(
      Array.from({ length: 20 }, () => ({ bytes: content })),
      views,
    );
    const source = await stock.open();
    await copied(layoutOf(stock, 'safetensors'), async () => source);
    expect(source.asked.bytes).toBeGreaterThan(63 * MIB);
    expect(source.asked.bytes).toBeLessThan(65 * MIB);
  });

  test('small members come with their tensors: no read more', async () => {
    const views = Object.fromEntries(
      Array.from({ length: 50 }, (_, index) => [`t${String(index).padStart(3, '0')}`, { ...f32(80), storage: index, offset: index % 20 }]),
    );
    const stock = await stocked(
      Array.from({ length: 50 }, () => ({ bytes: numbers(100) })),
      views,
    );
    const made = layoutOf(stock, 'safetensors');
    const source = await stock.open();
    await copied(made, async () => source);
    expect(source.asked.requests).toBeLessThan(4);
    await expect(copied(made, flipped(stock, 33, 0))).rejects.toThrow('the bytes of t033 are damaged');
  });
});

describe('a transfer that goes on where another was ended', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ckpt-damaged-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const ELEMENTS = 3 * MIB;
  const LONG: readonly (readonly [string, Readonly<Record<string, View>>])[] = [
    // A block of output is 8 MiB of the storage: more than is read of a rest.
    ['a cast', { w: { dtype: 'F64', shape: [ELEMENTS / 2], cast: 'F16' } }],
    ['slices', { a: f32(ELEMENTS / 2), b: { ...f32(ELEMENTS / 2), offset: ELEMENTS / 2 } }],
    [
      'a slice that is cast, and one that is not',
      { a: { ...f32(ELEMENTS / 2), cast: 'F16' }, b: { ...f32(ELEMENTS / 2), offset: ELEMENTS / 2 } },
    ],
  ];

  test.each(LONG)('of %s tells damage of what the other had read, too', async (name, views) => {
    const stock = await stocked([{ bytes: numbers(ELEMENTS) }], views);
    const made = layoutOf(stock, 'safetensors');
    const uri = join(folder, name);
    async function attempt(open: () => Promise<ByteSource>, resume?: PartialProgress, until = Infinity) {
      const stop = new AbortController();
      let last: PartialProgress | undefined;
      const failure = await publishLocal({
        ...made,
        uri,
        open,
        token: 'token',
        content: 'content',
        overwrite: 'always',
        ...(resume === undefined ? {} : { resume }),
        onProgress: (progress) => {
          last = progress;
          if (progress.offset >= until)
            stop.abort(Object.assign(new Error('worker shutdown'), { name: 'CancelledFailure', message: 'WORKER_SHUTDOWN' }));
        },
        signal: stop.signal,
      }).then(
        () => null,
        (error: unknown) => error,
      );
      return { failure, last };
    }
    const damaged = flipped(stock, 0, 4000);
    const first = await attempt(damaged, undefined, 1);
    expect(first.failure).not.toBeNull();
    expect(first.last!.offset).toBeLessThan(made.layout.size);
    const second = await attempt(damaged, first.last);
    expect(second.failure).toMatchObject({ code: 'CheckpointLoadError', message: expect.stringContaining('damaged') });
    // The same of a file that is whole: what it has published is what one attempt makes.
    const third = await attempt(stock.open, undefined, 1);
    expect((await attempt(stock.open, third.last)).failure).toBeNull();
    const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
    expect(sha256(await readFile(uri))).toBe(sha256(await copied(made, stock.open)));
  });
});

test('ranges in any order, as beside copies of a store, tell it as well', async () => {
  const views = {
    q: f32(64, 64),
    k: { ...f32(64, 64), stride: [1, 64], offset: 4096 },
    v: { ...f32(64, 60), offset: 8192 },
  };
  const stock = await stocked(storage(3 * 4096), views, 's3://bucket/w.pt');
  const { layout, plan } = layoutOf(stock, 'safetensors');
  async function made(open: () => Promise<ByteSource>): Promise<Buffer> {
    const files = openFiles(plan.files, open);
    const ranges = layoutRange(layout, plan, files);
    const bytes = Buffer.alloc(layout.size);
    const cuts = [0, 1001, 9003, 30_007, layout.size];
    await Promise.all([2, 0, 3, 1].map((index) => ranges.fill(cuts[index]!, bytes.subarray(cuts[index], cuts[index + 1]), never)));
    await ranges.readRests(never);
    return bytes;
  }
  expect((await made(stock.open)).equals(await copied({ layout, plan }, stock.open))).toBe(true);
  for (const byte of [5, 20_000, 40_000, 3 * 4096 * 4 - 1])
    await expect(made(flipped(stock, 0, byte))).rejects.toThrow(/the bytes of k, q, v are damaged|the bytes of q, k, v are damaged/);
});

test('whatever tensors show of storages, a bit changed in what they show is always told', async () => {
  const dtype = fc.constantFrom<Dtype>('U8', 'F16', 'F32', 'C64');
  const view = fc.record({
    storage: fc.nat(),
    dtype,
    shape: fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 3 }),
    steps: fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 3, maxLength: 3 }),
    isStrided: fc.boolean(),
    place: fc.nat(),
    isCast: fc.boolean(),
    conjugate: fc.boolean(),
  });
  const size = fc.oneof(fc.integer({ min: 4000, max: 8000 }), fc.constant(300_000));
  await fc.assert(
    fc.asyncProperty(
      fc.array(size, { minLength: 1, maxLength: 4 }),
      fc.array(view, { minLength: 1, maxLength: 14 }),
      fc.record({
        block: fc.integer({ min: 500, max: 20_000 }),
        isFar: fc.boolean(),
        at: fc.nat(),
        byte: fc.nat(),
        bit: fc.nat({ max: 7 }),
        format: fc.constantFrom('safetensors' as const, 'state_dict' as const),
      }),
      async (sizes, chosen, { block, isFar, at, byte, bit, format }) => {
        const storages = sizes.map((bytes, index) => ({ bytes: noise(Math.floor(bytes / 8) * 8, index + 1) }));
        const views: Record<string, View> = {};
        for (const [index, { storage: key, dtype: own, shape, steps, isStrided, place, isCast, conjugate }] of chosen.entries()) {
          const held = key % storages.length;
          const elements = storages[held]!.bytes.length / { U8: 1, F16: 2, F32: 4, C64: 8 }[own as 'U8'];
          const stride = isStrided ? shape.map((_, axis) => steps[axis]!) : undefined;
          const plain = shape.reduce((product, extent) => product * extent, 1) - 1;
          const last = stride === undefined ? plain : shape.reduce((sum, extent, axis) => sum + (extent - 1) * stride[axis]!, 0);
          if (last >= elements) continue;
          views[`t${index}`] = {
            storage: held,
            dtype: own,
            shape,
            offset: place % (elements - last),
            ...(stride === undefined ? {} : { stride }),
            ...(isCast && own === 'F32' ? { cast: 'BF16' } : {}),
            ...(conjugate && own === 'C64' ? { conjugate: true } : {}),
          };
        }
        const names = Object.keys(views);
        fc.pre(names.length > 0);
        const stock = await stocked(storages, views, isFar ? 's3://bucket/w.pt' : 'file:///w.pt');
        const made = layoutOf(stock, format);
        await copied(made, stock.open, { block });
        const hit = views[names[at % names.length]!]!;
        const shown = [...bytesShown(hit)];
        const damaged = flipped(stock, hit.storage!, shown[byte % shown.length]!, bit);
        await expect(copied(made, damaged, { block })).rejects.toMatchObject({
          code: 'CheckpointLoadError',
          message: expect.stringContaining(`CRC-32 of the member m/data/${hit.storage} is`),
        });
      },
    ),
    { numRuns: 150 },
  );
}, 60_000);
