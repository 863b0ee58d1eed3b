/**
 * The items of a batch, listed once into pages of the workspace, and read page by page.
 *
 * Pages are found through an index of two steps, so that neither a page nor what leads to it grows with the number of items.
 */
import { Context } from '@temporalio/activity';
import { mapAtOnce } from '../../src/io/at-once.ts';
import { listItems } from '../../src/io/batch-items.ts';
import { checkWritable } from '../../src/io/locations/places.ts';
import type { BlobReference } from '../../src/model/context.ts';
import { expand, refuseClimbing } from '../../src/pipeline/batch-template.ts';
import type { BatchItem, ItemPage, ListedItem, ListOutput } from '../../src/pipeline/batch.ts';
import type { PipelineInput } from '../../src/pipeline/contract.ts';
import type { Catalog } from '../catalog.ts';
import type { Services, Workspace } from '../services.ts';
import { unchangedOutputs } from '../unchanged.ts';
import { destinationsIn } from './destinations.ts';
import type { ListInput, PageInput } from './index.ts';

/** Items of a page, and characters of its JSON: pages pass through Temporal's history. */
const PAGE_ITEMS = 200;
const PAGE_CHARACTERS = 256 * 1024;
/** Pages of which one blob of the index tells. */
const GROUP = 256;
/** Items that are looked at together for being unchanged. */
const LOOKS_AT_ONCE = 16;

export async function listPages(services: Services, { items, workspace, results, pipeline }: ListInput): Promise<ListOutput> {
  const { cancellationSignal: signal } = Context.current();
  // Better said before the first item than after the last.
  if (results !== null) {
    await services.storage.check(results);
    await checkWritable(results, services.storage, signal);
  }
  const store = services.workspace(workspace);
  const destinations = destinationsIn(pipeline);
  const found = listItems(items, { storage: services.storage, own: (uri) => store.openFile(uri), signal });
  const noting = (item: BatchItem): BatchItem => {
    destinations.note(item);
    return item;
  };
  const listed = await writePages(store, found, noting, signal);
  const judged = destinations.judge();
  return judged === null ? listed : writePages(store, itemsIn(store, listed.index), judged, signal);
}

async function writePages(
  store: Workspace,
  items: AsyncIterable<BatchItem>,
  taken: (item: BatchItem) => BatchItem,
  signal: AbortSignal,
): Promise<ListOutput> {
  const groups: BlobReference[] = [];
  let pages: BlobReference[] = [];
  let page: BatchItem[] = [];
  let characters = 0;
  let total = 0;
  const flushGroup = async (): Promise<void> => {
    groups.push(await store.putJson(pages));
    pages = [];
  };
  const flush = async (): Promise<void> => {
    pages.push(await store.putJson(page));
    page = [];
    characters = 0;
    if (pages.length === GROUP) await flushGroup();
  };
  for await (const given of items) {
    signal.throwIfAborted();
    const item = taken(given);
    const size = JSON.stringify(item).length;
    if (page.length === PAGE_ITEMS || (page.length > 0 && characters + size > PAGE_CHARACTERS)) await flush();
    page.push(item);
    total++;
    characters += size;
  }
  if (page.length > 0) await flush();
  if (pages.length > 0) await flushGroup();
  return { index: await store.putJson(groups), total };
}

/** The page's items; those of which everything that would be published is there already say so. */
export async function readPage(catalog: Catalog, services: Services, { index, page, workspace, pipeline }: PageInput): Promise<ItemPage> {
  const { cancellationSignal: signal } = Context.current();
  const items = await itemsOf(services.workspace(workspace), index, page);
  const look = async (item: BatchItem): Promise<ListedItem> => {
    signal.throwIfAborted();
    const document = item.destination_of === undefined ? expanded(pipeline, item) : null;
    const unchanged = document === null ? null : await unchangedOutputs(catalog, services, document, signal);
    return unchanged === null ? item : { ...item, unchanged };
  };
  return { items: await mapAtOnce(items, LOOKS_AT_ONCE, look) };
}

export async function itemsOf(store: Workspace, index: BlobReference, page: number): Promise<readonly BatchItem[]> {
  const groups = (await store.getJson(index)) as readonly BlobReference[];
  const group = groups[Math.floor(page / GROUP)];
  const pages = group === undefined ? [] : ((await store.getJson(group)) as readonly BlobReference[]);
  const reference = pages[page % GROUP];
  return reference === undefined ? [] : ((await store.getJson(reference)) as readonly BatchItem[]);
}

async function* itemsIn(store: Workspace, index: BlobReference): AsyncGenerator<BatchItem> {
  for (let page = 0; ; page++) {
    const items = await itemsOf(store, index, page);
    if (items.length === 0) return;
    yield* items;
  }
}

/** Null where the template does not go with the item: its run will say so. */
function expanded(pipeline: PipelineInput, item: BatchItem): PipelineInput | null {
  try {
    refuseClimbing(pipeline, item);
    return expand(pipeline, item);
  } catch {
    return null;
  }
}
