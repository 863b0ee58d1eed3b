/** `modifier.metadata`: key/values for the published file's own string metadata. */
import { z } from 'zod';
import { CheckpointConfigError } from '../../src/errors.ts';
import { FROZEN_KEY } from '../../src/model/plan.ts';
import { formatCount } from '../../src/model/text.ts';
import { modifyPlan } from '../modify-plan.ts';
import { refusedBy } from '../option-checks.ts';
import { defineStage } from '../stage.ts';

/** Characters of all keys and values: it is a label on the file, not its content. */
const MOST_CHARACTERS = 64 * 1024;
/** Characters of one key. */
const MOST_OF_A_KEY = 200;

const options = z.strictObject({
  values: z
    .preprocess(
      refuseLost,
      z.record(
        z.string().min(1).max(MOST_OF_A_KEY),
        z.union([z.string(), z.number(), z.boolean()], {
          error: ({ input }) =>
            typeof input === 'number'
              ? 'a number that is not finite is not kept as it is: quote it'
              : 'expected a text, a number or a boolean',
        }),
        { error: ({ code }) => (code === 'invalid_key' ? `expected a key of 1 to ${MOST_OF_A_KEY} characters` : undefined) },
      ),
    )
    .superRefine(refusedBy(textsOf))
    .describe('added to the metadata of the published file; numbers and booleans become text, of a document as they are written in it'),
});

export default defineStage({
  type: 'modifier.metadata',
  description: 'Add key/values to the string metadata of the published file',
  options,
  asWritten: ['values'],
  run: (call) =>
    modifyPlan(call, (plan) => {
      const values = textsOf(call.options.values);
      return {
        plan: { ...plan, metadata: { ...plan.metadata, ...Object.fromEntries(values) } },
        entry: { type: 'metadata', keys: values.map(([key]) => key) },
        summary: formatCount(values.length, 'metadata key'),
      };
    }),
});

/** Keys and values as they go into the file. */
function textsOf(given: Readonly<Record<string, string | number | boolean>>): readonly (readonly [key: string, value: string])[] {
  const inexact = Object.entries(given).find(([, value]) => Number.isInteger(value) && !Number.isSafeInteger(value));
  // Digits that are gone when the document has been read.
  if (inexact !== undefined) throw new CheckpointConfigError('a number of so many digits is not kept as it is: quote it.', inexact[0]);
  const values = Object.entries(given).map(([key, value]) => [key, String(value)] as const);
  const size = values.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
  if (size > MOST_CHARACTERS)
    throw new CheckpointConfigError(`keys and values have ${size} characters; the limit is ${MOST_CHARACTERS}.`, '');
  if (values.some(([key]) => key === FROZEN_KEY))
    throw new CheckpointConfigError(`\`${FROZEN_KEY}\` is written by modifier.freezing alone.`, FROZEN_KEY);
  return values;
}

/** A key that the schema library leaves out without a word. */
function refuseLost(given: unknown, context: z.RefinementCtx): unknown {
  if (typeof given === 'object' && given !== null && Object.hasOwn(given, '__proto__'))
    context.addIssue({ code: 'custom', message: 'no key is named so: take another name', path: ['__proto__'] });
  return given;
}
