/** What a batch needs of the outside: its items in pages, its outcomes in parts, and the end of children it did not start itself. */
import type { BlobReference } from '../../src/model/context.ts';
import {
  AWAIT_ACTIVITY,
  BATCH_REPORT_ACTIVITY,
  FINISH_ACTIVITY,
  LIST_ACTIVITY,
  PAGE_ACTIVITY,
  RECORD_ACTIVITY,
  type Awaited,
  type BatchItems,
  type ItemPage,
  type ListOutput,
  type Noted,
  type Rest,
  type Straggler,
} from '../../src/pipeline/batch.ts';
import type { PipelineInput } from '../../src/pipeline/contract.ts';
import type { Catalog } from '../catalog.ts';
import { withPulse } from '../pulse.ts';
import { endedBy, type Services } from '../services.ts';
import { awaitChildren } from './await.ts';
import { listPages, readPage } from './list.ts';
import { leaveBatchReport, type BatchRecords } from './report.ts';
import { finishResults, recordPart } from './results.ts';

type Own = { readonly workspace: string | null };

export interface BatchActivities {
  readonly [LIST_ACTIVITY]: (input: ListInput) => Promise<ListOutput>;
  readonly [PAGE_ACTIVITY]: (input: PageInput) => Promise<ItemPage>;
  readonly [RECORD_ACTIVITY]: (input: RecordInput) => Promise<BlobReference>;
  /** Gives the URI of the results. */
  readonly [FINISH_ACTIVITY]: (input: FinishInput) => Promise<string>;
  /** Gives the URI of the report. */
  readonly [BATCH_REPORT_ACTIVITY]: (input: BatchReportInput) => Promise<string>;
  readonly [AWAIT_ACTIVITY]: (input: { readonly children: readonly Child[] }) => Promise<Awaited>;
}

export type ListInput = Own & { readonly items: BatchItems; readonly results: string | null; readonly pipeline: PipelineInput };
export type PageInput = Own & { readonly index: BlobReference; readonly page: number; readonly pipeline: PipelineInput };
export type RecordInput = Own & {
  readonly index: BlobReference;
  readonly previous: BlobReference | null;
  readonly outcomes: readonly Noted[];
};
export type FinishInput = Own & {
  readonly part: BlobReference | null;
  /** Absent where every item was begun. */
  readonly rest?: Rest;
  readonly results: string | null;
  readonly batch: string;
  readonly run: string;
};
export type BatchReportInput = Own & {
  readonly records: BatchRecords;
  /** As the document wants them. */
  readonly results: string | null;
  readonly batch: string;
  readonly run: string;
};
export type Child = Pick<Straggler, 'workflowId' | 'runId'>;

export function batchActivities(catalog: Catalog, services: Services): BatchActivities {
  return {
    [LIST_ACTIVITY]: (input) => withPulse((signal) => listPages(endedBy(signal, services), input)),
    [PAGE_ACTIVITY]: (input) => withPulse((signal) => readPage(catalog, endedBy(signal, services), input)),
    [RECORD_ACTIVITY]: (input) => withPulse((signal) => recordPart(endedBy(signal, services), input)),
    [FINISH_ACTIVITY]: (input) => withPulse((signal) => finishResults(endedBy(signal, services), input)),
    [BATCH_REPORT_ACTIVITY]: (input) => withPulse((signal) => leaveBatchReport(endedBy(signal, services), input)),
    [AWAIT_ACTIVITY]: ({ children }) => withPulse(() => awaitChildren(children)),
  };
}
