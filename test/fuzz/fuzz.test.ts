/**
 * Damaged fixtures of every container: a header or a typed error, never another exception, never a hang.
 *
 * Short here; `npm run fuzz` runs for CKPT_FUZZ_MINUTES (default 5) from CKPT_FUZZ_SEED, and prints the seed of a failure.
 */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { mutant, mutate, SEEDS, survive } from './mutate.ts';

const minutes = Number(process.env['CKPT_FUZZ_MINUTES'] ?? 0);
const seed = process.env['CKPT_FUZZ_SEED'];

test('the seeds themselves are read, or refused by type', async () => {
  for (const { bytes } of SEEDS) await survive(bytes);
  expect(SEEDS.length).toBeGreaterThan(0);
});

test(
  'mutants',
  async () => {
    const result = await fc.check(
      fc.asyncProperty(mutant, async (given) => {
        await survive(mutate(given).bytes);
      }),
      {
        ...(seed === undefined ? {} : { seed: Number(seed) }),
        ...(minutes === 0 ? { numRuns: 400 } : { numRuns: 1e9, interruptAfterTimeLimit: minutes * 60_000, markInterruptAsFailure: false }),
      },
    );
    process.stdout.write(`  fuzz: ${result.numRuns} mutants from seed ${result.seed}\n`);
    if (result.failed) throw new Error(fc.defaultReportMessage(result) ?? 'failed', { cause: result.errorInstance });
  },
  minutes * 60_000 + 300_000,
);
