/** Every zip fixture of the torch family: read as expected, or refused with the right class. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import type { ByteSource } from '../../../src/model/byte-source.ts';
import type { Header } from '../../../src/model/header.ts';
import { isCheckpointError } from '../../../src/errors.ts';
import { readTorchZip } from '../../../src/formats/torch/read-zip.ts';
import { readArchive } from '../../../src/formats/zip/archive.ts';
import { EXPECTED, fixture } from '../../support/project.ts';

function open(path: string): ByteSource {
  const bytes = new Uint8Array(readFileSync(fixture(path)));
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
