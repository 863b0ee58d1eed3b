/** What a child of a batch begins with: the template with an item's values, refused where it must not be begun. */
import { patched } from '@temporalio/workflow';
import { CheckpointConfigError } from '../src/errors.ts';
import { within } from '../src/model/text.ts';
import { expand, refuseClimbing, refuseTaken } from '../src/pipeline/batch-template.ts';
import type { BatchItem } from '../src/pipeline/batch.ts';
import type { PipelineInput } from '../src/pipeline/contract.ts';

/** Bytes of a child's input: a payload has at most 2 MiB. */
const MOST_INPUT = 1.5 * 1024 * 1024;
/** The change after which an item may not lead out of the folder of the template. */
const ITEMS_STAY_BELOW = 'items-stay-below';
/** The change after which an item whose pipeline is too large fails alone. */
const INPUTS_ARE_BOUNDED = 'inputs-are-bounded';

export interface ChildInput {
  readonly pipeline: PipelineInput;
  /** Bytes of its JSON. */
  readonly size: number;
}

export function inputOf(template: PipelineInput, item: BatchItem): ChildInput {
  const pipeline = expand(template, item);
  checkBelow(template, item);
  refuseTaken(item);
  const size = new TextEncoder().encode(JSON.stringify(pipeline)).length;
  checkSize(item, size);
  return { pipeline, size };
}

/** Items that a batch of an earlier version has begun all the same go on. */
function checkBelow(template: PipelineInput, item: BatchItem): void {
  try {
    refuseClimbing(template, item);
  } catch (refused) {
    // Asked only here: the histories of all other batches stay as they are.
    if (patched(ITEMS_STAY_BELOW)) throw refused;
  }
}

/** The server refuses a child whose input is larger, and with it the whole step of the batch, each time. */
function checkSize({ key }: BatchItem, bytes: number): void {
  if (bytes <= MOST_INPUT || !patched(INPUTS_ARE_BOUNDED)) return;
  throw new CheckpointConfigError(
    `The template with the values of ${within(key, 200, 'end')} has ${bytes} bytes of JSON, at most ${MOST_INPUT}: its run begins with it. Put long values into a file, and name that.`,
    'pipeline',
    { details: { bytes, most: MOST_INPUT } },
  );
}
