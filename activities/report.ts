/**
 * The report of a run: what is known of it, gathered from the workspace and from manifests, and left beside the outputs.
 *
 * Invariant: what cannot be had leaves a gap that the report names, and never fails.
 */
import { isCheckpointError, textOf, type JsonObject } from '../src/errors.ts';
import { packageVersion } from '../src/io/package-version.ts';
import { destinationOf } from '../src/io/publish/destination.ts';
import { readManifest } from '../src/io/publish/manifest.ts';
import { reportPath, reportTemplate } from '../src/io/publish/report-file.ts';
import type { BlobReference, CheckpointContext, Output } from '../src/model/context.ts';
import type { Header } from '../src/model/header.ts';
import type { Plan } from '../src/model/plan.ts';
import type { PipelineResult, ReportInput, ReportOutput } from '../src/pipeline/contract.ts';
import type { RunContents } from '../src/report/contents.ts';
import { reportPage } from '../src/report/page.ts';
import { runContents, type Published } from '../src/report/run-contents.ts';
import { takePublished } from './published.ts';
import type { Services } from './services.ts';

export interface RunRecords {
  readonly result: PipelineResult;
  /** As the last stage that ended has handed it on; null where none did. */
  readonly context: CheckpointContext | null;
  readonly document: JsonObject | null;
  readonly workspace: string | null;
}

/** Null for a run that has none; of several outputs a report shows the tensors of one. */
export async function collectRun(services: Services, records: RunRecords, output: Output | null): Promise<RunContents> {
  const { result, context, document } = records;
  const gaps: string[] = [];
  const workspace = services.workspace(records.workspace);
  const blob = async (what: string, reference: BlobReference | undefined): Promise<unknown> =>
    reference === undefined
      ? null
      : workspace.getJson(reference).catch((error: unknown) => {
          const gone = isCheckpointError(error) && error.code === 'CheckpointNotFoundError';
          const why = gone ? 'it is not in the workspace any more, or not in one that this machine sees' : textOf(error);
          gaps.push(`The ${what} is missing here: ${why}.`);
          return null;
        });
  // The workspace verifies digests: what is read is what a stage of the run wrote.
  const header = (await blob('header of the source', context?.header)) as Header | null;
  const plan = (await blob('plan', context?.plan)) as Plan | null;
  const published = output === null ? null : await publishedOf(services, result.run_id, output, gaps);
  return runContents({ result, document, header, plan, published, gaps, created: new Date().toISOString(), version: packageVersion() });
}

async function publishedOf(services: Services, runId: string | null, { uri }: Output, gaps: string[]): Promise<Published | null> {
  const recent = runId === null ? undefined : takePublished(services, runId, uri);
  if (recent !== undefined) return recent;
  const { storage } = services;
  try {
    await storage.check(uri);
    const manifest = await readManifest(destinationOf(storage, uri), uri);
    if (manifest === null) gaps.push(`There is no manifest beside ${uri} any more, so this report lacks digests of tensors.`);
    return manifest;
  } catch (error) {
    gaps.push(`The manifest of ${uri} cannot be read: ${textOf(error)}`);
    return null;
  }
}

/** One beside each output, as its manifest is; one that an earlier run has left beside an unchanged output stays. */
export async function leaveReports(services: Services, { result, context, document, workspace }: ReportInput): Promise<ReportOutput> {
  const reports: string[] = [];
  const { header, plan } = context ?? {};
  const template = await reportTemplate();
  for (const output of result.outputs) {
    const uri = reportPath(output.uri);
    await services.storage.check(uri);
    const files = destinationOf(services.storage, uri);
    if (!output.unchanged || (await files.identity(uri)) === null) {
      const contents = await collectRun(services, { result, context, document, workspace }, output);
      await files.write(uri, reportPage(template, contents));
    }
    reports.push(uri);
  }
  // The run is over.
  for (const reference of [header, plan]) if (reference !== undefined) services.workspace(workspace).forget(reference);
  return { reports };
}
