/** The report of a batch beside its results, left by the command that has waited for it. */
import { textOf } from '../errors.ts';
import { destinationOf, outputUri } from '../io/destination.ts';
import { reportPath, reportTemplate } from '../io/report-file.ts';
import { reportPage } from '../report/page.ts';
import { contentsOf, fetchRecords } from './run-records.ts';
import { createServices } from './services.ts';
import { ownStorage } from './storage.ts';
import type { TemporalAccess } from './temporal/connect.ts';

/** Its URI; null where it cannot be left, which `note` takes and the batch does not fail for. */
export async function leaveBatchReport(
  temporal: TemporalAccess,
  workflowId: string,
  results: string,
  note: (line: string) => void,
): Promise<string | null> {
  // The results lie where the user of this command, or its workspace, has put them.
  const storage = await ownStorage();
  try {
    const contents = await contentsOf(createServices(storage), await fetchRecords(temporal, workflowId));
    // Results that are another machine's have no report here.
    if (contents.kind !== 'batch' || contents.items === null) throw new Error(contents.gaps.join(' '));
    const uri = reportPath(outputUri(results));
    await destinationOf(storage, uri).write(uri, reportPage(await reportTemplate(), contents));
    return uri;
  } catch (error) {
    note(`There is no report of the batch beside its results: ${textOf(error)}`);
    return null;
  } finally {
    storage.close();
  }
}
