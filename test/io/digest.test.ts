import { expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { inlineDigester, threadDigester, threadDigesters } from '../../src/io/digest.ts';
import { noise } from '../support/memory-source.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test.each(['thread', 'inline'])('strings over many blocks and many in one: %s', async (where) => {
  const memory = [0, 1].map(() => new Uint8Array(new SharedArrayBuffer(1000)));
  const digester = where === 'thread' ? threadDigester(memory) : inlineDigester(memory);
  const [first, second] = [noise(1000, 2), noise(1000, 3)];
  memory[0]!.set(first);
  memory[1]!.set(second);
  const one = digester.update({
    slot: 0,
    pieces: [
      { key: 4, from: 0, to: 10, ends: true },
      { key: 5, from: 10, to: 1000, ends: false },
    ],
    snapshot: true,
  });
  const two = digester.update({
    slot: 1,
    pieces: [
      { key: 5, from: 0, to: 600, ends: true },
      { key: 6, from: 600, to: 600, ends: true },
    ],
    snapshot: true,
  });
  expect(await one).toEqual({ ended: [{ key: 4, sha256: sha256(first.subarray(0, 10)) }], snapshot: sha256(first.subarray(10)) });
  expect(await two).toEqual({
    ended: [
      { key: 5, sha256: sha256(Buffer.concat([first.subarray(10), second.subarray(0, 600)])) },
      { key: 6, sha256: sha256(new Uint8Array()) },
    ],
    snapshot: null,
  });
  await digester.close();
});

test('several in one thread keep apart what they digest', async () => {
  const bytes = noise(1000, 4);
  const memory = [new Uint8Array(new SharedArrayBuffer(1000))];
  memory[0]!.set(bytes);
  const [one, two] = threadDigesters(memory, 2);
  const part = (from: number, to: number, ends: boolean) => ({ slot: 0, pieces: [{ key: 1, from, to, ends }], snapshot: false });
  const answers = [one!.update(part(0, 500, false)), two!.update(part(0, 1000, true)), one!.update(part(500, 700, true))];
  const sums = (await Promise.all(answers)).map(({ ended }) => ended.map((each) => each.sha256));
  expect(sums).toEqual([[], [sha256(bytes)], [sha256(bytes.subarray(0, 700))]]);
  await one!.close();
});

test('a closed thread answers nothing more', async () => {
  const digester = threadDigester([new Uint8Array(new SharedArrayBuffer(10))]);
  await digester.close();
  await expect(digester.update({ slot: 0, pieces: [], snapshot: false })).rejects.toThrow('ended');
});
