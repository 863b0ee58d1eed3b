import { createHash } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { inlineDigester, threadDigester, threadDigesters } from '../../../src/io/digests/digest.ts';
import { noise } from '../../support/memory-source.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test.each(['thread', 'inline'])('strings over many blocks and many in one: %s', async (where) => {
  const memory = [0, 1].map(() => new Uint8Array(new SharedArrayBuffer(1000)));
  const digester = where === 'thread' ? threadDigester(memory) : inlineDigester(memory);
  const [first, second] = [noise(1000, 2), noise(1000, 3)];
  memory[0]!.set(first);
  memory[1]!.set(second);
  const one = digester.update({ slot: 0, bounds: Uint32Array.of(0, 10, 10, 1000), open: true, snapshot: true });
  const two = digester.update({ slot: 1, bounds: Uint32Array.of(0, 600, 600, 600), open: false, snapshot: true });
  expect(await one).toEqual({ ended: sha256(first.subarray(0, 10)), snapshot: sha256(first.subarray(10)) });
  expect(await two).toEqual({
    ended: sha256(Buffer.concat([first.subarray(10), second.subarray(0, 600)])) + sha256(new Uint8Array()),
    snapshot: null,
  });
  await digester.close();
});

test('several in one thread keep apart what they digest', async () => {
  const bytes = noise(1000, 4);
  const memory = [new Uint8Array(new SharedArrayBuffer(1000))];
  memory[0]!.set(bytes);
  const [one, two] = threadDigesters(memory, 2);
  const part = (from: number, to: number, open: boolean) => ({ slot: 0, bounds: Uint32Array.of(from, to), open, snapshot: false });
  const answers = [one!.update(part(0, 500, true)), two!.update(part(0, 1000, false)), one!.update(part(500, 700, false))];
  const sums = (await Promise.all(answers)).map(({ ended }) => ended);
  expect(sums).toEqual(['', sha256(bytes), sha256(bytes.subarray(0, 700))]);
  await one!.close();
});

test('a closed thread answers nothing more', async () => {
  const digester = threadDigester([new Uint8Array(new SharedArrayBuffer(10))]);
  await digester.close();
  await expect(digester.update({ slot: 0, bounds: Uint32Array.of(), open: false, snapshot: false })).rejects.toThrow('ended');
});
