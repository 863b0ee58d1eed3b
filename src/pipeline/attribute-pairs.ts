/** Search attributes as the SDK takes them, for whoever starts a run and for the run itself. Workflow-safe. */
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import { presentAttributes, SEARCH_ATTRIBUTES, type AttributeValues } from './search-attributes.ts';

/** Of those values that the server has an attribute for. */
export function attributePairs(values: AttributeValues, known: readonly string[]): SearchAttributePair[] {
  return presentAttributes(values, known).map(
    // The table says which value has which type.
    ([name, value]) => ({ key: defineSearchAttributeKey(name, SEARCH_ATTRIBUTES[name]), value }) as SearchAttributePair,
  );
}
