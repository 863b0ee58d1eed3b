/** What a batch needs of the outside: its items in pages, its outcomes in parts, and the end of children it did not start itself. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import { listItems } from '../../src/io/batch-items.ts';
import { destinationOf } from '../../src/io/destination.ts';
import type { JsonObject } from '../../src/errors.ts';
import type { BlobReference } from '../../src/model/context.ts';
import {
  AWAIT_ACTIVITY,
  FINISH_ACTIVITY,
  LIST_ACTIVITY,
  PAGE_ACTIVITY,
  RECORD_ACTIVITY,
  type Awaited,
  type BatchItem,
  type BatchItems,
  type Ending,
  type ItemPage,
  type ListOutput,
  type Outcome,
  type Straggler,
} from '../../src/pipeline/batch.ts';
import type { PipelineResult } from '../../src/pipeline/contract.ts';
import type { Services } from '../services.ts';

/** Items of a page, and characters of its JSON: pages pass through Temporal's history. */
const PAGE_ITEMS = 200;
const PAGE_CHARACTERS = 256 * 1024;
/** Milliseconds between looks at children, and between heartbeats. */
const LOOK = 1000;

interface Part {
  readonly previous: BlobReference | null;
  readonly outcomes: readonly Outcome[];
}

type Own = { readonly workspace: string | null };

export interface BatchActivities {
  readonly [LIST_ACTIVITY]: (input: Own & { readonly items: BatchItems }) => Promise<ListOutput>;
  readonly [PAGE_ACTIVITY]: (input: Own & { readonly index: BlobReference; readonly page: number }) => Promise<ItemPage>;
  readonly [RECORD_ACTIVITY]: (input: Own & Part) => Promise<BlobReference>;
  readonly [FINISH_ACTIVITY]: (
    input: Own & { readonly part: BlobReference | null; readonly results: string | null; readonly batch: string; readonly run: string },
  ) => Promise<string>;
  readonly [AWAIT_ACTIVITY]: (input: { readonly children: readonly Pick<Straggler, 'workflowId' | 'runId'>[] }) => Promise<Awaited>;
}

export function batchActivities(services: Services): BatchActivities {
  return {
    async [LIST_ACTIVITY]({ items, workspace }) {
      const context = Context.current();
      const store = services.workspace(workspace);
      const pages: BlobReference[] = [];
      let page: BatchItem[] = [];
      let characters = 0;
      let total = 0;
      const flush = async (): Promise<void> => {
        context.cancellationSignal.throwIfAborted();
        pages.push(await store.putJson(page));
        context.heartbeat({ listed: total });
        page = [];
        characters = 0;
      };
      for await (const item of listItems(items, { storage: services.storage, own: (uri) => store.readFile(uri) })) {
        page.push(item);
        total++;
        characters += JSON.stringify(item).length;
        if (page.length === PAGE_ITEMS || characters > PAGE_CHARACTERS) await flush();
      }
      if (page.length > 0) await flush();
      return { index: await store.putJson(pages), total };
    },
    async [PAGE_ACTIVITY]({ index, page, workspace }) {
      const store = services.workspace(workspace);
      const pages = (await store.getJson(index)) as readonly BlobReference[];
      const reference = pages[page];
      const items = reference === undefined ? [] : ((await store.getJson(reference)) as readonly BatchItem[]);
      return { items, last: page >= pages.length - 1 };
    },
    [RECORD_ACTIVITY]: ({ workspace, previous, outcomes }) => services.workspace(workspace).putJson({ previous, outcomes } satisfies Part),
    async [FINISH_ACTIVITY]({ workspace, part, results, batch, run }) {
      const store = services.workspace(workspace);
      const lines: Outcome[] = [];
      for (let at = part; at !== null;) {
        Context.current().heartbeat({ read: lines.length });
        const { previous, outcomes } = (await store.getJson(at)) as Part;
        lines.push(...outcomes);
        at = previous;
      }
      const text = lines
        .sort((a, b) => a.index - b.index)
        .map((line) => `${JSON.stringify(line)}\n`)
        .join('');
      if (results === null) return store.writeFile(`batches/${encodeURIComponent(batch)}/${run}.jsonl`, text);
      await services.storage.check(results);
      await destinationOf(services.storage, results).write(results, text);
      return results;
    },
    async [AWAIT_ACTIVITY]({ children }) {
      const { client, cancellationSignal, ...context } = contextOf();
      for (;;) {
        const ended: { workflowId: string; ending: Ending }[] = [];
        for (const { workflowId, runId } of children) {
          const handle = client.workflow.getHandle(workflowId, runId);
          const status = await handle.describe().then(
            (known) => known.status.name,
            // Gone from the server; `result` says so, too.
            (error: unknown) => (error instanceof WorkflowNotFoundError ? null : Promise.reject(error)),
          );
          // A child never continues as new.
          if (status !== 'RUNNING') ended.push({ workflowId, ending: await handle.result().then(endingOfResult, endingOfError) });
        }
        if (ended.length > 0) return { ended };
        context.heartbeat();
        await sleep(LOOK, undefined, { signal: cancellationSignal });
      }
    },
  };
}

function contextOf(): { client: Context['client']; cancellationSignal: AbortSignal; heartbeat: () => void } {
  const context = Context.current();
  return { client: context.client, cancellationSignal: context.cancellationSignal, heartbeat: () => context.heartbeat() };
}

function endingOfResult(given: unknown): Ending {
  // The type of the workflow says so.
  const { status, outputs } = given as PipelineResult;
  return { status: status === 'unchanged' ? 'unchanged' : 'completed', outputs: outputs.map(({ uri }) => uri), error: null };
}

function endingOfError(error: unknown): Ending {
  if (error instanceof WorkflowNotFoundError) {
    const message = 'The server knows the run no more, so nobody can tell how it ended.';
    return { status: 'failed', outputs: [], error: { type: 'CheckpointError', message, details: {} } };
  }
  if (!(error instanceof WorkflowFailedError)) throw error;
  const { cause } = error;
  if (cause instanceof CancelledFailure) return { status: 'cancelled', outputs: [], error: null };
  const details = cause instanceof ApplicationFailure ? (cause.details?.[0] as JsonObject | undefined) : undefined;
  return {
    status: 'failed',
    outputs: [],
    error: {
      type: (cause instanceof ApplicationFailure ? cause.type : undefined) ?? 'CheckpointError',
      message: cause?.message ?? error.message,
      details: details ?? {},
    },
  };
}
