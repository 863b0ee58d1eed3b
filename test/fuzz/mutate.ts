/** Fixtures, damaged: what every reader must survive with a header or a typed error. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { isCheckpointError } from '../../src/errors.ts';
import { readHeader } from '../../src/formats/read-header.ts';
import { scanFile } from '../../src/formats/scan/scan.ts';
import { memorySource } from '../support/memory-source.ts';
import { fixture } from '../support/project.ts';

/** One of each container. */
export const SEEDS = [
  'good/lightning_trained.ckpt',
  'good/deflated.pt',
  'good/pytorch_training_legacy.pt',
  'good/torchscript.pt',
  'good/plain.safetensors',
  'good/protocol_4.pt',
  'good/zip_no_hints.pt',
  'unsafe/op_frame_split.pt',
  'unsafe/bare_pickle_proto4.ckpt',
].map((path) => ({ path, bytes: readFileSync(fixture(path)) }));

/** Bytes that mean something to one of the parsers. */
const TELLING = [
  0, 1, 0x28, 0x2e, 0x30, 0x31, 0x50, 0x52, 0x58, 0x62, 0x63, 0x71, 0x7b, 0x7f, 0x80, 0x81, 0x8a, 0x8c, 0x93, 0x94, 0x95, 0xff,
];

type Change =
  | { readonly kind: 'set'; readonly at: number; readonly to: number }
  | { readonly kind: 'cut'; readonly at: number }
  | { readonly kind: 'drop' | 'repeat'; readonly at: number; readonly length: number }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array };

const place = fc.double({ min: 0, max: 1, noNaN: true });
const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('set' as const), at: place, to: fc.oneof(fc.constantFrom(...TELLING), fc.nat(255)) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), at: place }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('drop' as const, 'repeat' as const), at: place, length: fc.integer({ min: 1, max: 64 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('insert' as const), at: place, bytes: fc.uint8Array({ minLength: 1, maxLength: 32 }) }),
  },
);

/** Half of the changes fall into the first kilobytes or the last, where the structure is. */
export const mutant = fc.record({
  seed: fc.nat(SEEDS.length - 1),
  where: fc.constantFrom('all', 'start', 'end'),
  changes: fc.array(change, { minLength: 1, maxLength: 8 }),
});

export function mutate({ seed, where, changes }: { seed: number; where: string; changes: readonly Change[] }): {
  path: string;
  bytes: Buffer;
} {
  const { path, bytes: original } = SEEDS[seed]!;
  let bytes: Buffer = Buffer.from(original);
  for (const each of changes) {
    const span = where === 'all' ? bytes.length : Math.min(4096, bytes.length);
    const at = (where === 'end' ? bytes.length - span : 0) + Math.floor(each.at * Math.max(0, span - 1));
    if (each.kind === 'set' && at < bytes.length) bytes[at] = each.to;
    else if (each.kind === 'cut') bytes = bytes.subarray(0, at);
    else if (each.kind === 'drop') bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + each.length)]);
    else if (each.kind === 'repeat') bytes = Buffer.concat([bytes.subarray(0, at + each.length), bytes.subarray(at)]);
    else if (each.kind === 'insert') bytes = Buffer.concat([bytes.subarray(0, at), each.bytes, bytes.subarray(at)]);
  }
  return { path, bytes };
}

/** Throws for anything but a header or a typed error, and where a scan calls safe what the reader holds to be damaged. */
export async function survive(bytes: Uint8Array): Promise<void> {
  const refusal = await readHeader(memorySource(bytes)).then(
    () => undefined,
    (error: unknown) => {
      if (!isCheckpointError(error) || error.retryable) throw error;
      return error;
    },
  );
  const [scan] = await scanFile(memorySource(bytes), { check: readHeader });
  if (scan === undefined) throw new Error('a scan without a result');
  if (scan.verdict === 'safe' && refusal?.code === 'CheckpointLoadError' && !refusal.message.includes('bare pickle'))
    throw new Error(`scanned as safe, refused as ${refusal.message}`);
}
