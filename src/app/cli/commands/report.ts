/** `ckpt report`: the report of any run or batch that the server still knows. */
import { resolve } from 'node:path';
import { writeAtomically } from '../../../io/local/atomic-file.ts';
import { checkReplaceable } from '../../../io/local/local-file.ts';
import { reportTemplate } from '../../../io/publish/report-file.ts';
import { reportPage } from '../../../report/page.ts';
import { contentsOf, fetchRecords } from '../../run-records.ts';
import { createServices } from '../../services.ts';
import { configuredStorage } from '../../storage.ts';
import { note, print, printJson, type OutputOptions } from '../output.ts';
import { callerFolder } from '../paths.ts';
import { withServer } from '../with-server.ts';

export interface ToFile extends OutputOptions {
  readonly output?: string;
}

export async function report(workflowId: string, options: ToFile): Promise<void> {
  const path = await targetPath(options.output, workflowId, 'report.html');
  const records = await withServer(options, ({ temporal }) => fetchRecords(temporal, workflowId));
  const storage = await configuredStorage({ inputs: 'own' });
  try {
    const contents = await contentsOf(createServices(storage), records);
    await writeAtomically(path, reportPage(await reportTemplate(), contents));
    if (options.json === true) return printJson({ workflow_id: workflowId, report: path, gaps: contents.gaps });
    if (contents.gaps.length > 0) note(contents.gaps);
    print(path);
  } finally {
    storage.close();
  }
}

/** As asked for, or in the folder where the user stands, named after the run; refused before anything is asked where no file can be there. */
export async function targetPath(output: string | undefined, workflowId: string, extension: string): Promise<string> {
  const path = resolve(callerFolder(), output ?? `${workflowId.replaceAll(/[^\w.=-]+/g, '_').slice(-180)}.${extension}`);
  await checkReplaceable(path, '--output');
  return path;
}
