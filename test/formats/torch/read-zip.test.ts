/** Every zip fixture of the torch family: read as expected, or refused with the right class. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { isCheckpointError } from '../../../src/errors.ts';
import { readHeader } from '../../../src/formats/read-header.ts';
import { scanFile } from '../../../src/formats/scan/scan.ts';
import { readTorchZip } from '../../../src/formats/torch/read-zip.ts';
import { readArchive } from '../../../src/formats/zip/archive.ts';
import type { ByteSource } from '../../../src/model/byte-source.ts';
import type { Header } from '../../../src/model/header.ts';
import { pickle } from '../../support/pickle.ts';
import { EXPECTED, fixture } from '../../support/project.ts';
import { dict, tensor } from '../../support/torch-file.ts';
import { zip } from '../../support/zip.ts';

function open(path: string): ByteSource {
  return held(path, new Uint8Array(readFileSync(fixture(path))));
}

function held(path: string, bytes: Uint8Array): ByteSource {
  const read = async (offset: number, length: number): Promise<Uint8Array> => bytes.slice(offset, offset + length);
  return {
    uri: `file:///${path}`,
    size: bytes.length,
    identity: 'test',
    read,
    readInto: async (offset, target) => target.set(await read(offset, target.length)),
    close: async () => {},
  };
}

async function header(path: string): Promise<Header> {
  const source = open(path);
  return readTorchZip(source, await readArchive(source));
}

describe('good archives', () => {
  const good = Object.entries(EXPECTED.good).filter(([, entry]) => entry.container === 'zip');
  test.each(good)('%s', async (path, entry) => {
    let found: Header;
    try {
      found = await header(path);
    } catch (error) {
      if (entry.may_refuse === true && isCheckpointError(error)) return;
      throw error;
    }
    const described = found.weights.map(({ name, tensor }) => {
      const { dtype, shape, unsupported } = found.tensors[tensor] ?? {};
      return [name, unsupported === undefined ? { dtype, shape } : { unsupported }];
    });
    const wanted = Object.entries(entry.tensors).map(([name, { dtype, shape, unsupported }]) => [
      name,
      unsupported === undefined ? { dtype, shape } : { unsupported },
    ]);
    expect(Object.fromEntries(described)).toEqual(Object.fromEntries(wanted));
    expect({ format: found.format, key: found.stateDictKey }).toEqual({ format: entry.format, key: entry.state_dict_key });
    const { epoch, global_step, has_optimizer, has_scheduler } = found.training;
    expect({ epoch, global_step, has_optimizer, has_scheduler }).toEqual({
      epoch: entry.epoch,
      global_step: entry.global_step,
      has_optimizer: entry.has_optimizer,
      has_scheduler: entry.has_scheduler,
    });
    const names = new Set(found.globals.map(({ module, name }) => `${module}.${name}`));
    expect([...names].sort()).toEqual([...(entry.globals ?? [])].sort());
  });
});

describe('bad archives', () => {
  const isZip = (path: string): boolean =>
    /\.(pt|ckpt)$/.test(path) && readFileSync(fixture(path)).subarray(0, 4).equals(Buffer.from('PK\x03\x04'));
  const bad = Object.entries(EXPECTED.bad).filter(([path]) => /^(unsafe\/|corrupt\/(pickle|tensor|structure)_)/.test(path) && isZip(path));
  test.each(bad)('%s', async (path, entry) => {
    const error: unknown = await header(path).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (error === undefined && (entry.also_ok ?? []).includes('good')) return;
    if (!isCheckpointError(error)) throw error ?? new Error('was read');
    const unsafeOnly = entry.verdict === 'unsafe' && !(entry.also_ok ?? []).includes('corrupt');
    expect(unsafeOnly ? ['CheckpointValidationError'] : ['CheckpointValidationError', 'CheckpointLoadError']).toContain(error.code);
    if (unsafeOnly) for (const name of entry.globals ?? []) expect(JSON.stringify(error.toJSON())).toContain(name.split('.').at(-1));
  });
});

test('a file whose name begins like a drive: its folder is called so', async () => {
  const bytes = zip([
    { name: 'x:y/data.pkl', data: pickle(dict({ w: tensor(0) })) },
    { name: 'x:y/data/0', data: new Uint8Array(8) },
  ]);
  const source = held('x:y.pt', bytes);
  expect((await readTorchZip(source, await readArchive(source))).weights).toEqual([{ name: 'w', tensor: 0 }]);
  const scanned = await scanFile(source, { openSibling: async () => source, check: readHeader });
  expect(scanned.map(({ verdict }) => verdict)).toEqual(['safe']);
});

describe('metadata of Anemoi', () => {
  async function metadataOf(text: string, deflated = true): Promise<unknown> {
    const data = Buffer.from(text);
    const bytes = zip([
      { name: 'a/data.pkl', data: pickle(dict({ w: tensor(0) })) },
      { name: 'a/data/0', data: new Uint8Array(8) },
      { name: 'a/anemoi-metadata/anemoi.json', data, deflated },
    ]);
    const source = held('a.pt', bytes);
    return (await readTorchZip(source, await readArchive(source))).anemoiMetadata;
  }

  test.each([
    ['lists', `{"a":[${'[],'.repeat(500_000)}1]}`, 'at most 1000000 are read'],
    ['objects', `{"a":[${'{},'.repeat(500_000)}1]}`, 'at most 1000000 are read'],
    ['levels', `{"a":${'['.repeat(200)}${']'.repeat(200)}}`, 'at most 200 are read'],
    ['bytes from few', `{"a":"${' '.repeat(16 * 2 ** 20)}"}`, `at most ${16 * 2 ** 20} are read`],
  ])('with too many %s is refused', async (_, text, message) => {
    await expect(metadataOf(text)).rejects.toMatchObject({ code: 'CheckpointLoadError', message: expect.stringContaining(message) });
  });

  test('may have numbers that are none, as Python writes them', async () => {
    const text = '{"NaN": [NaN, Infinity, -Infinity, 1.5], "said \\\\": "NaN, \\"Infinity\\"", "deep": {"x":NaN}}';
    expect(await metadataOf(text)).toEqual({ NaN: [null, null, null, 1.5], 'said \\': 'NaN, "Infinity"', deep: { x: null } });
    await expect(metadataOf('{"a": NaNs}')).rejects.toMatchObject({ message: expect.stringContaining('is not JSON') });
  });

  test('may be longer where it is not deflated, and is read up to its limits', async () => {
    const long = ' '.repeat(16 * 2 ** 20);
    expect(await metadataOf(JSON.stringify({ long }), false)).toEqual({ long });
    expect(await metadataOf(`{"a":${'['.repeat(199)}${']'.repeat(199)}}`)).toHaveProperty('a');
  });
});
