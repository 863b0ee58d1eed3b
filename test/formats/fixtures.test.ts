/** Every fixture from the bytes to the published file: good ones tensor by tensor, bad ones refused with a typed error. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { isCheckpointError } from '../../src/errors.ts';
import { readSafetensors } from '../../src/formats/safetensors/read.ts';
import { openLocalFile } from '../../src/io/local/local-file.ts';
import { DTYPES, type Dtype } from '../../src/model/dtype.ts';
import type { Header } from '../../src/model/header.ts';
import { EXPECTED, fixture, type ExpectedGood } from '../support/project.ts';
import { headerOf, publish } from '../support/published.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-fixtures-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  const widths = [0, 1].map((column) => Math.max(...table.map((row) => row[column]!.length)));
  process.stdout.write(
    `${table.map(([path, expected, got]) => `  ${path!.padEnd(widths[0]!)}  ${expected!.padEnd(widths[1]!)}  ${got}`).join('\n')}\n`,
  );
});

/** What came of each fixture: its path, what `expected.json` says, what happened. */
const table: (readonly string[])[] = [];

/** What a header says, in the words of `expected.json`. */
function described(header: Header): unknown {
  const { epoch, global_step, has_optimizer, has_scheduler } = header.training;
  const tensors = header.weights.map(({ name, tensor }) => {
    const { dtype, shape, unsupported } = header.tensors[tensor]!;
    return [name, unsupported === undefined ? { dtype, shape } : { unsupported }];
  });
  return {
    format: header.format,
    container: header.container,
    state_dict_key: header.stateDictKey,
    epoch,
    global_step,
    has_optimizer,
    has_scheduler,
    tensors: Object.fromEntries(tensors),
    globals: [...new Set(header.globals.map(({ module, name }) => `${module}.${name}`))].sort(),
  };
}

function wanted(expected: ExpectedGood): object {
  const { format, container, state_dict_key, epoch, global_step, has_optimizer, has_scheduler } = expected;
  const tensors = Object.entries(expected.tensors).map(([name, { dtype, shape, unsupported }]) => [
    name,
    unsupported === undefined ? { dtype, shape } : { unsupported },
  ]);
  return {
    format,
    container,
    state_dict_key,
    epoch,
    global_step,
    has_optimizer,
    has_scheduler,
    tensors: Object.fromEntries(tensors),
    globals: [...(expected.globals ?? [])].sort(),
  };
}

async function readBack(path: string): Promise<Record<string, unknown>> {
  const source = await openLocalFile(path);
  const header = await readSafetensors(source);
  const found: [string, unknown][] = [];
  for (const { name, tensor } of header.weights) {
    const { dtype, shape, storage } = header.tensors[tensor]!;
    const { location, length } = header.storages[storage]!;
    if (location.kind !== 'range') throw new Error('safetensors holds ranges');
    found.push([
      name,
      {
        dtype,
        shape,
        sha256: createHash('sha256')
          .update(await source.read(location.offset, length))
          .digest('hex'),
      },
    ]);
  }
  await source.close();
  return Object.fromEntries(found);
}

describe('good', () => {
  test.each(Object.entries(EXPECTED.good))('%s', async (path, expected) => {
    const target = join(folder, `${path.replaceAll('/', '-')}.safetensors`);
    const unnamed = Object.entries(expected.tensors).filter(
      ([name, { dtype, unsupported }]) => unsupported !== undefined || !DTYPES[dtype as Dtype].safetensors || name === '__metadata__',
    );
    const header = await headerOf(fixture(path)).catch((error: unknown) => {
      if (expected.may_refuse !== true || !isCheckpointError(error)) throw error;
    });
    if (header === undefined) return void table.push([path, 'good, may be refused', 'refused']);
    expect(described(header)).toEqual({ ...wanted(expected), ...(expected.shards === undefined ? {} : { globals: expect.any(Array) }) });
    const copied = await publish(header, target).catch((error: unknown) => error);
    if (unnamed.length > 0 || (expected.may_refuse === true && isCheckpointError(copied))) {
      expect(isCheckpointError(copied)).toBe(true);
      return void table.push([path, 'good', 'read; safetensors has no form for it']);
    }
    if (copied instanceof Error) throw copied;
    // The same bytes on every run.
    expect(await publish(header, target)).toEqual({ ...(copied as Awaited<ReturnType<typeof publish>>), identity: expect.any(String) });
    expect(await readBack(target)).toEqual(expected.tensors);
    const { sha256, tensors } = copied as Awaited<ReturnType<typeof publish>>;
    expect(sha256).toBe(
      createHash('sha256')
        .update(await readFile(target))
        .digest('hex'),
    );
    expect(tensors).toEqual(Object.fromEntries(Object.entries(expected.tensors).map(([name, tensor]) => [name, tensor.sha256])));
    table.push([path, 'good', `published, ${Object.keys(tensors).length} tensors equal`]);
  });
});

describe('bad', () => {
  test.each(Object.entries(EXPECTED.bad))('%s', async (path, { verdict, globals, also_ok = [] }) => {
    const target = join(folder, 'bad', 'out.safetensors');
    const outcome = await headerOf(fixture(path))
      .then((header) => publish(header, target))
      .catch((error: unknown) => error);
    if (!isCheckpointError(outcome)) {
      if (outcome instanceof Error) throw outcome;
      expect(also_ok).toContain('good');
      await rm(target);
    } else if (verdict === 'unsafe' && !also_ok.includes('corrupt')) {
      expect(outcome.code).toBe('CheckpointValidationError');
      for (const name of globals ?? []) expect(JSON.stringify(outcome.toJSON())).toContain(name.slice(name.lastIndexOf('.') + 1));
    } else
      expect(['CheckpointLoadError', 'CheckpointValidationError', 'CheckpointIncompatibleError', 'CheckpointNotFoundError']).toContain(
        outcome.code,
      );
    expect(await readdir(join(folder, 'bad')).catch(() => [])).toEqual([]);
    table.push([path, verdict, isCheckpointError(outcome) ? outcome.code : 'read, as is allowed']);
  });
});
