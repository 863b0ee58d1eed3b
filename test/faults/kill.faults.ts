/**
 * SIGKILL of the worker at random points of a 500 MB publish, to S3 and to disk: another worker always finishes the run, the bytes
 * are the same, what the store had is not sent again, and nothing else is left.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ListMultipartUploadsCommand, ListPartsCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { PART } from '../../src/io/s3/parts.ts';
import { PARTS_AT_ONCE } from '../../src/io/s3/send-parts.ts';
import { S3_SETUP_TIMEOUT } from '../support/s3-server.ts';
import { chosenSeed, isPart, openField, partNumber, say, seeded, type Field, type Lane, type Place } from './field.ts';

/** Of each kind of destination; FAULTS_ROUNDS says otherwise. */
const ROUNDS = Number(process.env['FAULTS_ROUNDS'] ?? 20);
/** Of each kind, side by side: a killed worker is missed after ten seconds, which others use. */
const LANES = 3;
/** Points beyond the size: when the last byte has been brought, and the output is put in its place. */
const FARTHEST = 1.1;

let field: Field;
let expected: string;

beforeAll(async () => {
  field = await openField();
  const lane = await field.lane('undisturbed');
  const worker = await lane.worker();
  const place = await field.place('disk', 'undisturbed');
  const result = await lane.client.settled(await publish(lane, place));
  expect(result.status).toBe('completed');
  expected = await place.sha256();
  await place.remove();
  worker.process.kill('SIGTERM');
  await worker.ended;
}, S3_SETUP_TIMEOUT);
afterAll(() => field?.close());

function publish({ client }: Lane, { uri }: Place) {
  return client.start({
    stages: [{ type: 'source.local', path: field.large }, { type: 'loader.weights_only' }, { type: 'sink.publish', uri }],
  });
}

interface Round {
  readonly name: string;
  /** In shares of the size. */
  readonly point: number;
}

/** One run whose worker is killed; `worker` is the one that lives on afterwards. */
async function play(kind: 's3' | 'disk', { name, point }: Round, lane: Lane, worker: Awaited<ReturnType<Lane['worker']>>) {
  const place = await field.place(kind, name);
  const run = await publish(lane, place);
  while (!(await place.isOver()) && (await place.brought()) < point * field.size) await sleep(2);
  worker.process.kill('SIGKILL');
  await worker.ended;
  const before = await place.brought();
  const done = kind === 's3' ? await finishedParts(name) : null;
  const from = field.proxy.seen.length;

  const next = await lane.worker();
  const result = await lane.client.settled(run);
  // Where the worker had told the store all, and the server nothing yet, the next one finds it as it shall be.
  expect(['completed', 'unchanged']).toContain(result.status);
  expect(result.outputs[0]!.sha256).toBe(expected);
  expect(await place.sha256()).toBe(expected);
  expect((await place.left()).toSorted()).toEqual(['weights.safetensors', 'weights.safetensors.manifest.json']);
  let again = 0;
  if (done !== null) {
    const later = field.proxy.seen.slice(from).filter((seen) => isPart(seen) && seen.url.includes(`/${name}/`));
    expect(later.map(partNumber).filter((number) => done.has(number))).toEqual([]);
    again = (await place.brought()) - field.size;
    expect(again).toBeLessThanOrEqual(PARTS_AT_ONCE * PART);
  }
  await place.remove();
  const attempts = result.stages.at(-1)!.attempts;
  say(
    `  ${name}: killed at ${Math.round((100 * before) / field.size)} % (aimed at ${Math.round(100 * point)} %), ${attempts} attempts, ${result.status}` +
      (kind === 's3'
        ? `, ${done === null ? 'no upload open' : `${done.size} parts there`}, ${(again / 2 ** 20).toFixed(1)} MiB sent again`
        : ''),
  );
  return next;
}

/** Numbers of the parts that the store holds of an upload; null where there is none open. */
async function finishedParts(name: string): Promise<ReadonlySet<number> | null> {
  const where = { Bucket: field.bucket, Prefix: `${name}/` };
  const { Uploads } = await field.server.client.send(new ListMultipartUploadsCommand(where));
  const [open] = Uploads ?? [];
  if (open === undefined) return null;
  const { Parts } = await field.server.client.send(
    new ListPartsCommand({ Bucket: field.bucket, Key: open.Key!, UploadId: open.UploadId! }),
  );
  return new Set((Parts ?? []).map(({ PartNumber }) => PartNumber!));
}

test(`a killed worker's publish is finished by another, ${ROUNDS} times to S3 and ${ROUNDS} times to disk`, async () => {
  const random = seeded(chosenSeed());
  const lanes = (['s3', 'disk'] as const).flatMap((kind) => {
    const rounds = Array.from({ length: ROUNDS }, (_, index) => ({ name: `${kind}-${index + 1}`, point: random() * FARTHEST })).values();
    return Array.from({ length: LANES }, async (_, index) => {
      const lane = await field.lane(`${kind}-lane-${index + 1}`);
      let worker = await lane.worker();
      for (const round of rounds) worker = await play(kind, round, lane, worker);
      worker.process.kill('SIGTERM');
      await worker.ended;
    });
  });
  // The others end before the server is taken from them.
  for (const each of await Promise.allSettled(lanes)) if (each.status === 'rejected') throw each.reason;
});
