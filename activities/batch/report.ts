/**
 * The report of a batch beside its results.
 *
 * Invariant: what cannot be had leaves a gap that the report names; memory does not grow with the number of items beyond a bound.
 */
import { Context } from '@temporalio/activity';
import { isCheckpointError, textOf, type JsonObject } from '../../src/errors.ts';
import { parseJson } from '../../src/formats/json-break.ts';
import { linesOf } from '../../src/io/lines.ts';
import { packageVersion } from '../../src/io/package-version.ts';
import { destinationOf } from '../../src/io/publish/destination.ts';
import { reportPath, reportTemplate } from '../../src/io/publish/report-file.ts';
import type { BatchResult, Outcome } from '../../src/pipeline/batch.ts';
import { batchContents } from '../../src/report/batch-contents.ts';
import type { BatchContents } from '../../src/report/contents.ts';
import { reportPage } from '../../src/report/page.ts';
import type { Services } from '../services.ts';
import type { BatchReportInput } from './index.ts';
import { resultsName } from './results.ts';

/** Items that a page shows: its table holds them all. */
const MOST_ITEMS = 100_000;

export interface BatchRecords {
  readonly result: BatchResult;
  readonly document: JsonObject;
  readonly runId: string;
  /** ISO 8601. */
  readonly started: string | null;
  readonly ended: string | null;
}

/** `workspace`: that of the batch; `known`: gaps that are known already. */
export async function collectBatch(
  services: Services,
  records: BatchRecords & { readonly workspace: string | null },
  known: readonly string[] = [],
): Promise<BatchContents> {
  const { results } = records.result;
  const gaps = [...known];
  if (!('pipeline' in records.document)) gaps.push('The batch document is too long for this report, so it is shown in part.');
  const outcomes = results === null ? null : await outcomesIn(services, results, records.workspace, gaps);
  return batchContents({ ...records, outcomes, gaps, created: new Date().toISOString(), version: packageVersion() });
}

/** Beside the results, wherever these are; gives its URI. */
export async function leaveBatchReport(services: Services, input: BatchReportInput): Promise<string> {
  const { workspace, results, batch, run } = input;
  const page = reportPage(await reportTemplate(), await collectBatch(services, { ...input.records, workspace }));
  // Results that could not be written where they were wanted lie in the workspace.
  if (results === null || results !== input.records.result.results)
    return services.workspace(workspace).writeFile(reportPath(resultsName(batch, run)), pieces(page));
  const uri = reportPath(results);
  await services.storage.check(uri);
  await destinationOf(services.storage, uri, Context.current().cancellationSignal).write(uri, page);
  return uri;
}

async function* pieces(text: string): AsyncGenerator<string> {
  yield text;
}

async function outcomesIn(
  { storage, ...services }: Services,
  uri: string,
  workspace: string | null,
  gaps: string[],
): Promise<readonly Outcome[] | null> {
  try {
    const source = (await services.workspace(workspace).openFile(uri)) ?? (await storage.open(uri));
    try {
      const outcomes: Outcome[] = [];
      for await (const { line } of linesOf(source)) {
        if (outcomes.length === MOST_ITEMS) {
          gaps.push(`The batch has more than ${MOST_ITEMS} items, so this report has the totals only; ${uri} has every item.`);
          return null;
        }
        outcomes.push(parseJson(line) as Outcome);
      }
      return outcomes;
    } finally {
      await source.close();
    }
  } catch (error) {
    if (isCheckpointError(error) && error.code === 'CheckpointNotFoundError')
      gaps.push(`There are no results at ${uri} any more, or not on this machine; so this report has the totals only.`);
    else gaps.push(`The results at ${uri} cannot be read, so this report has the totals only: ${textOf(error)}`);
  }
  return null;
}
