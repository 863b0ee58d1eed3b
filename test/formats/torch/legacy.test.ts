/** The container before torch 1.6, where the fixtures do not reach: views of storages, many storages, counts that lie late. */
import { describe, expect, test } from '@jest/globals';
import { readHeader } from '../../../src/formats/read-header.ts';
import { openStorage } from '../../../src/io/copy/storage-reader.ts';
import { memorySource, type Made } from '../../support/memory-source.ts';
import { pickle, type Pickled } from '../../support/pickle.ts';

const MAGIC = 0x1950a86a20f9469cfc6cn;
const SYSTEM: Pickled = { dict: [['protocol_version', 1001]] };

function storage(key: string, elements: number, view: Pickled = null, kind = 'FloatStorage'): Pickled {
  return { persistent: { tuple: ['storage', { global: `torch.${kind}` }, key, 'cpu', elements, view] } };
}

function tensor(of: Pickled, offset: number, length: number): Pickled {
  const none: Pickled = { call: 'collections.OrderedDict', args: [] };
  return { call: 'torch._utils._rebuild_tensor_v2', args: [of, offset, { tuple: [length] }, { tuple: [1] }, false, none] };
}

function counted(elements: number, values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(8 + 4 * values.length);
  bytes.writeBigInt64LE(BigInt(elements));
  values.forEach((value, index) => bytes.writeFloatLE(value, 8 + 4 * index));
  return bytes;
}

function legacy(object: Pickled, keys: readonly string[], storages: readonly Buffer[]): Buffer {
  return Buffer.concat([pickle(MAGIC), pickle(1001), pickle(SYSTEM), pickle(object), pickle(keys), ...storages]);
}

/** A file with so many zeros between two parts. */
function sparse(front: Uint8Array, zeros: number, rest: Uint8Array): Made {
  const restAt = front.length + zeros;
  return {
    size: restAt + rest.length,
    at: (offset, length) => {
      const bytes = new Uint8Array(length);
      bytes.set(front.subarray(offset, offset + length));
      if (offset + length > restAt) {
        const from = Math.max(offset, restAt);
        bytes.set(rest.subarray(from - restAt, offset + length - restAt), from - offset);
      }
      return bytes;
    },
  };
}

describe('legacy container', () => {
  test('a storage without bytes may be seen as two dtypes', async () => {
    const seen = (kind: string): Pickled => tensor(storage('none', 0, null, kind), 0, 0);
    const object: Pickled = {
      dict: [
        ['w', tensor(storage('full', 1), 0, 1)],
        ['a', seen('FloatStorage')],
        ['b', seen('IntStorage')],
      ],
    };
    const { tensors, storages } = await readHeader(memorySource(legacy(object, ['none', 'full'], [counted(0, []), counted(1, [5])])));
    expect(tensors.map(({ dtype, shape }) => [dtype, shape])).toEqual([
      ['F32', [1]],
      ['F32', [0]],
      ['I32', [0]],
    ]);
    expect(storages[2]!.location).toEqual(storages[1]!.location);
  });

  test('a storage that is part of another begins inside it', async () => {
    const whole = storage('root', 6, { tuple: ['a', 2, 3] });
    const same = storage('root', 6, { tuple: ['a', 2, 3] });
    const file = legacy(
      {
        dict: [
          ['a', tensor(whole, 1, 2)],
          ['b', tensor(same, 0, 3)],
          ['c', tensor(storage('root', 6), 5, 1)],
        ],
      },
      ['root'],
      [counted(6, [0, 1, 2, 3, 4, 5])],
    );
    const source = memorySource(file);
    const header = await readHeader(source);
    const values: Record<string, number[]> = {};
    for (const { name, tensor: index } of header.weights) {
      const { storage: at, offset, shape } = header.tensors[index]!;
      const reader = await openStorage(source, header.storages[at]!);
      const bytes = Buffer.alloc(reader.length);
      await reader.readInto(0, bytes);
      values[name] = Array.from({ length: shape[0]! }, (_, element) => bytes.readFloatLE(4 * (offset + element)));
    }
    expect(values).toEqual({ a: [3, 4], b: [2, 3, 4], c: [5] });
    expect(header.tensors[0]!.storage).toBe(header.tensors[1]!.storage);
  });

  test.each([
    ['past its end', { tuple: ['a', 4, 3] }],
    ['of negative length', { tuple: ['a', 0, -1] }],
    ['of too many items', { tuple: ['a', 0, 1, 1] }],
    ['that is not a tuple', 'a'],
  ] as const)('a view %s is refused', async (_, view) => {
    const file = legacy({ dict: [['a', tensor(storage('root', 6, view), 0, 1)]] }, ['root'], [counted(6, [0, 1, 2, 3, 4, 5])]);
    await expect(readHeader(memorySource(file))).rejects.toMatchObject({ code: 'CheckpointLoadError' });
  });

  const viewed = (view: string): Pickled => tensor(storage('root', 6, { tuple: [view, 2, 3] }), 0, 1);
  test.each([
    ['its own storage', [viewed('root')], ['root']],
    ['a storage before it', [tensor(storage('other', 6), 0, 1), viewed('other')], ['root', 'other']],
    ['a storage behind it', [viewed('other'), tensor(storage('other', 6), 0, 1)], ['root', 'other']],
  ])('a view with the key of %s is refused: torch takes the one for the other', async (_, tensors, keys) => {
    const values = counted(6, [0, 1, 2, 3, 4, 5]);
    const file = legacy({ dict: tensors.map((each, index) => [`t${index}`, each]) }, keys, [values, values]);
    await expect(readHeader(memorySource(file))).rejects.toMatchObject({
      code: 'CheckpointValidationError',
      message: expect.stringContaining('is the key of a storage and of a view of one'),
    });
  });

  test('20 000 storages take as many reads as their pickles; a wrong count is found before its bytes are believed', async () => {
    const large = 2 ** 26;
    const keys = Array.from({ length: 20_000 }, (_, index) => String(index));
    const elements = (index: number): number => (index === 0 ? large : 1);
    const wrong = 19_000;
    const front = legacy({ dict: keys.map((key, index) => [`layer.${key}`, tensor(storage(key, elements(index)), 0, 1)]) }, keys, [
      counted(large, []),
    ]);
    const rest = Buffer.concat(keys.slice(1).map((_, index) => counted(index + 1 === wrong ? 2 : 1, [index + 1])));
    const source = memorySource(sparse(front, 4 * large, rest));
    const header = await readHeader(source);
    expect(header.weights).toHaveLength(keys.length);
    expect(source.asked.requests).toBeLessThan(12);
    const open = async (index: number): Promise<number> => {
      const bytes = Buffer.alloc(4);
      await (await openStorage(source, header.storages[header.tensors[index]!.storage]!)).readInto(0, bytes);
      return bytes.readFloatLE();
    };
    expect(await open(wrong - 1)).toBe(wrong - 1);
    await expect(open(wrong)).rejects.toMatchObject({ code: 'CheckpointLoadError', details: { position: expect.any(Number) } });
  });

  test('only what the pickles need is read of a large file', async () => {
    const elements = 2 ** 28;
    const front = legacy({ dict: [['a', tensor(storage('0', elements), 0, elements)]] }, ['0'], [counted(elements, [])]);
    const source = memorySource(sparse(front, 4 * elements, Buffer.alloc(0)));
    const header = await readHeader(source);
    expect(header.tensors[0]!.shape).toEqual([elements]);
    expect(source.asked.requests).toBeLessThanOrEqual(3);
    expect(source.asked.bytes).toBeLessThan(2 ** 18);
  });

  test('a bare pickle and a tar archive are named for what they are', async () => {
    await expect(readHeader(memorySource(pickle({ dict: [] })))).rejects.toMatchObject({
      code: 'CheckpointLoadError',
      message: expect.stringContaining('bare pickle'),
    });
    const tar = new Uint8Array(1024);
    tar.set(Buffer.from('ustar'), 257);
    await expect(readHeader(memorySource(tar))).rejects.toMatchObject({ message: expect.stringContaining('tar archive') });
  });
});
