/**
 * No input of up to 16 MiB takes a process past 512 MiB, no larger one past a multiple of its own bytes, none past ten seconds of
 * the processor: each is read by a process of its own, which says what it took. These are the worst of some forty that were
 * tried (docs/decisions/0010-limits-by-construction.md has all).
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { PROJECT_ROOT } from '../support/project.ts';
import { zip } from '../support/zip.ts';

const WEIGH = fileURLToPath(new URL('../support/weigh.js', import.meta.url));
const MEMORY_MAX = 512;
/** Times its own bytes. */
const MEMORY_TIMES = 32;
const PROCESSOR_MAX = 10_000;
const SIZE = 48 * 2 ** 20;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-limits-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function weigh(what: 'read' | 'scan', bytes: Uint8Array): Promise<{ outcome: string; milliseconds: number; mebibytes: number }> {
  const path = join(folder, 'input.pt');
  await writeFile(path, bytes);
  const { stdout } = await promisify(execFile)(process.execPath, [WEIGH, what, path], { timeout: 300_000 });
  return JSON.parse(stdout) as { outcome: string; milliseconds: number; mebibytes: number };
}

const archive = (pickle: Uint8Array): Uint8Array => zip([{ name: 'a/data.pkl', data: pickle }]);

/** `unit` as often as it fits. */
function filled(size: number, head: string, unit: string, tail = '.'): Buffer {
  const units = Buffer.alloc(size, Buffer.from(unit, 'latin1')).subarray(0, Math.floor(size / unit.length) * unit.length);
  return Buffer.concat([Buffer.from(head, 'latin1'), units, Buffer.from(tail, 'latin1')]);
}

const small = 6 * 2 ** 20;
/** Takes as much memory as its size allows it, which is more than the least. */
const LARGER = 24 * 2 ** 20;
const inputs: readonly (readonly [string, () => Uint8Array])[] = [
  ['empty lists', () => archive(filled(small, '\x80\x02', ']'))],
  ['empty lists in a larger pickle', () => archive(filled(LARGER, '\x80\x02', ']'))],
  ['marks', () => archive(filled(LARGER, '\x80\x02', '('))],
  ['marks and pops', () => archive(filled(SIZE, '\x80\x02', '(1'))],
  ['None', () => archive(filled(LARGER, '\x80\x02', 'N'))],
  ['one value memorised over and over', () => archive(filled(LARGER, '\x80\x04N', '\x94'))],
  ['tuples as keys', () => archive(tupleKeys(small))],
  ['dicts of one text', () => archive(filled(small, '\x80\x02\x8c\x01aq\x000', '}h\x00Ns'))],
  ['dicts of three numbers', () => archive(filled(small, '\x80\x02', '}(K\x01NK\x02NK\x03Nu'))],
  ['dicts of nine numbers', () => archive(filled(small, '\x80\x02', `}(${Array.from('abcdefghi', (key) => `K${key}N`).join('')}u`))],
  ['dicts of one tuple', () => archive(filled(small, '\x80\x02', '}K\x01\x85Ns'))],
  ['sets of one', () => archive(filled(small, '\x80\x04', '\x8f(N\x90'))],
  ['one byte string', () => archive(filled(SIZE, '\x80\x03B\x00\x00\x00\x03', 'a'))],
  ['names behind a break', () => archive(filled(SIZE, '\xff', 'cos\nsystem\n'))],
  ['letters behind a break', () => archive(filled(SIZE, '\xff', 'ci'))],
  ['STACK_GLOBAL without operands behind a break', () => archive(filled(SIZE, '\xff', `${'a'.repeat(200)}\x93`))],
  ['members of an archive', () => manyMembers(340_000)],
  ['tensors of a safetensors header', () => manyTensors(1_000_000)],
];

describe.each(['read', 'scan'] as const)('%s', (what) => {
  test.each(inputs)(
    '%s',
    async (_, make) => {
      const input = make();
      const { mebibytes, milliseconds } = await weigh(what, input);
      expect(mebibytes).toBeLessThan(Math.max(MEMORY_MAX, (MEMORY_TIMES * input.length) / 2 ** 20));
      expect(milliseconds).toBeLessThan(PROCESSOR_MAX);
    },
    300_000,
  );
});

/** Bytes of a pickle that may take the most memory there is. */
const LARGEST = 60 * 2 ** 20;
test.each<[string, () => Uint8Array]>([
  ['marks', () => archive(filled(LARGEST, '\x80\x02', '('))],
  ['one value fetched over and over', () => archive(filled(80 * 2 ** 20, '\x80\x02]q\x00(', 'h\x00', 'e.'))],
  ['lists that are stored', () => archive(filled(LARGEST, '\x80\x02', ']q\x00'))],
])(
  'of the largest no process takes more than docs/security.md says: %s',
  async (_, make) => {
    const page = await readFile(join(PROJECT_ROOT, 'docs/security.md'), 'utf8');
    const most = Number(/at most ([\d,]+) MiB for the whole process/.exec(page)?.[1]?.replace(',', ''));
    expect((await weigh('read', make())).mebibytes).toBeLessThan(most);
  },
  300_000,
);

function tupleKeys(size: number): Buffer {
  const keys = Buffer.alloc(Math.floor(size / 7) * 7);
  for (let at = 0; at < keys.length; at += 7) {
    keys[at] = 0x4a;
    keys.writeInt32LE(at, at + 1);
    keys[at + 5] = 0x85;
    keys[at + 6] = 0x4e;
  }
  return Buffer.concat([Buffer.from('\x80\x02}(', 'latin1'), keys, Buffer.from('u.')]);
}

function manyMembers(count: number): Uint8Array {
  return zip(
    Array.from({ length: count }, (_, index) => ({ name: index.toString(36), data: Buffer.alloc(0) })),
    { zip64: {}, entries: 0xffff },
  );
}

function manyTensors(count: number): Uint8Array {
  const entries = Array.from({ length: count }, (_, index) => `"${index.toString(36)}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`);
  const json = Buffer.from(`{${entries.join(',')}}`);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json]);
}
