/** What a batch and its children begin with: the document, and the template with an item's values, refused where it must not be begun. */
import { patched } from '@temporalio/workflow';
import { CheckpointConfigError } from '../src/errors.ts';
import { within } from '../src/model/text.ts';
import { checkBatch, refuseUnclosed } from '../src/pipeline/batch-document.ts';
import { expand, refuseClimbing, refuseTaken } from '../src/pipeline/batch-template.ts';
import type { BatchInput, BatchItem } from '../src/pipeline/batch.ts';
import type { PipelineInput } from '../src/pipeline/contract.ts';

/** Bytes of a child's input: a payload has at most 2 MiB. */
const MOST_INPUT = 1.5 * 1024 * 1024;
/** The change after which an item may not lead out of the folder of the template. */
const ITEMS_STAY_BELOW = 'items-stay-below';
/** The change after which an item whose pipeline is too large fails alone. */
const INPUTS_ARE_BOUNDED = 'inputs-are-bounded';
/** The change after which a template may not have an item's value that no `}` closes. */
const VALUES_ARE_CLOSED = 'values-are-closed';

export interface ChildInput {
  readonly pipeline: PipelineInput;
  /** Bytes of its JSON. */
  readonly size: number;
}

export function documentOf(asked: unknown): BatchInput {
  return checkBatch(asked, (template) => {
    unlessBegunBefore(VALUES_ARE_CLOSED, () => refuseUnclosed(template));
  });
}

export function inputOf(template: PipelineInput, item: BatchItem): ChildInput {
  const pipeline = expand(template, item);
  unlessBegunBefore(ITEMS_STAY_BELOW, () => refuseClimbing(template, item));
  refuseTaken(item);
  const size = new TextEncoder().encode(JSON.stringify(pipeline)).length;
  checkSize(item, size);
  return { pipeline, size };
}

/** What a batch has begun all the same before there was this check goes on. */
function unlessBegunBefore(change: string, check: () => void): void {
  try {
    check();
  } catch (refused) {
    // Asked only here: the histories of all other batches stay as they are.
    if (patched(change)) throw refused;
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
