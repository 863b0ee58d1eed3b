/** Search attributes of a run, as far as the server knows them. */
import { upsertSearchAttributes, type WorkflowInfo } from '@temporalio/workflow';
import { attributePairs } from '../src/pipeline/attribute-pairs.ts';
import { ATTRIBUTES_MEMO, type AttributeValues } from '../src/pipeline/search-attributes.ts';

/** Whoever starts a run says in its memo what the server knows; others write there what they like. */
export function knownAttributes({ memo }: WorkflowInfo): readonly string[] {
  const said = memo?.[ATTRIBUTES_MEMO];
  return Array.isArray(said) ? said.map(String) : [];
}

export function setAttributes(values: AttributeValues, known: readonly string[]): void {
  const pairs = attributePairs(values, known);
  if (pairs.length > 0) upsertSearchAttributes(pairs);
}
