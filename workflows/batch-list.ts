/**
 * The list of a batch's items, read page by page, and how far it was begun.
 *
 * Invariant: it stands at the first item that was not begun; the page of that one is read once it is needed.
 */
import type { ErrorReport } from '../src/errors.ts';
import type { BlobReference } from '../src/model/context.ts';
import type { BatchCarry, ListedItem, Place } from '../src/pipeline/batch.ts';
import { failureOf } from './failures.ts';

/** Where a list stands, for the next run of the batch. */
export type Standing = Pick<BatchCarry, 'index' | 'total' | 'page' | 'offset' | 'next'>;

export interface BatchList {
  /** There is one from here on. */
  useList(list: Pick<Standing, 'index' | 'total'>): void;
  /** Null as long as there is none. */
  index(): BlobReference | null;
  total(): number;
  /** Items that were not begun. */
  left(): number;
  /** Those that were, in this run of the batch. */
  begun(): number;
  needsPage(): boolean;
  /** Goes on to the next page where this one is used up; the page to be read. */
  nextPage(): number;
  usePage(page: { readonly items: readonly ListedItem[] }): void;
  /** The one that it stands at, on the page in use. */
  item(): ListedItem;
  /** Where that one stands, which is begun now. */
  take(): Place;
  /** There is a list. */
  standing(): Standing;
}

export function openList(given: BatchCarry | undefined): BatchList {
  let index = given?.index ?? null;
  let total = given?.total ?? 0;
  let { page, offset, next } = given ?? { page: 0, offset: 0, next: 0 };
  const first = next;
  let items: readonly ListedItem[] | null = null;

  return {
    useList: (list) => ({ index, total } = list),
    index: () => index,
    total: () => total,
    left: () => total - next,
    begun: () => next - first,
    needsPage: () => items === null || offset >= items.length,
    nextPage() {
      if (items !== null && offset >= items.length) [page, offset] = [page + 1, 0];
      return page;
    },
    usePage(given) {
      ({ items } = given);
      if (items.length === 0) throw failureOf(listChanged(next, total));
    },
    item: () => items![offset]!,
    take: () => ({ index: next++, page, offset: offset++ }),
    standing: () => ({ index: index!, total, page, offset, next }),
  };
}

function listChanged(next: number, total: number): ErrorReport {
  const message = `The list of items ends at ${next} of ${total}: the workspace does not hold what was listed.`;
  return { type: 'CheckpointError', message, details: {} };
}
