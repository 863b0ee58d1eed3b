/** `ckpt bundle` and `ckpt replay`: a run in one file, and whether today's workflow code would take the same steps. */
import { resolve } from 'node:path';
import type { Services } from '../../../../activities/services.ts';
import { CheckpointIncompatibleError, isCheckpointError, textOf, type JsonObject } from '../../../errors.ts';
import { historyName, packBundle } from '../../../io/bundle.ts';
import { writeAtomically } from '../../../io/local/atomic-file.ts';
import { packageVersion } from '../../../io/package-version.ts';
import { destinationOf } from '../../../io/publish/destination.ts';
import { manifestPath } from '../../../io/publish/manifest.ts';
import { reportTemplate } from '../../../io/publish/report-file.ts';
import type { PipelineResult } from '../../../pipeline/contract.ts';
import { reportPage } from '../../../report/page.ts';
import { contentsOf, fetchRecords, type RunRecords } from '../../run-records.ts';
import { createServices } from '../../services.ts';
import { configuredStorage } from '../../storage.ts';
import { note, print, printJson, type OutputOptions } from '../output.ts';
import { callerFolder } from '../paths.ts';
import { withServer } from '../with-server.ts';
import { targetPath, type ToFile } from './report.ts';

export async function bundle(workflowId: string, options: ToFile): Promise<void> {
  const path = await targetPath(options.output, workflowId, 'zip');
  const records = await withServer(options, ({ temporal }) => fetchRecords(temporal, workflowId, { everyRun: true }));
  const storage = await configuredStorage({ inputs: 'own' });
  try {
    const services = createServices(storage);
    const contents = await contentsOf(services, records);
    const gaps = [...contents.gaps];
    const entries = { ...(await entriesOf(services, records, gaps)), 'report.html': reportPage(await reportTemplate(), contents) };
    const created = new Date(contents.created);
    const about = { workflow_id: workflowId, run_id: records.runId, workflow: records.kind, created, version: packageVersion(), gaps };
    await writeAtomically(path, await packBundle({ 'bundle.json': json(about), ...entries }, created));
    const files = ['bundle.json', ...Object.keys(entries)];
    if (options.json === true) return printJson({ workflow_id: workflowId, bundle: path, files, gaps });
    if (gaps.length > 0) note(gaps);
    print([path, ...files.map((name) => `  ${name}`)]);
  } finally {
    storage.close();
  }
}

async function entriesOf(services: Services, records: RunRecords, gaps: string[]): Promise<Record<string, string>> {
  const { document, result, context, histories, kind } = records;
  const entries: Record<string, string> = {
    'pipeline.json': json(document),
    'result.json': json(result),
    ...Object.fromEntries(histories.map((history, index) => [historyName(index + 1), history])),
  };
  const attempt = async (name: string, read: () => Promise<string | null>): Promise<void> => {
    const text = await read().catch((error: unknown) => {
      // Of what is not there the report has told why.
      const gone = isCheckpointError(error) && error.code === 'CheckpointNotFoundError';
      gaps.push(gone ? `${name} is left out.` : `${name} is left out: ${textOf(error)}`);
      return null;
    });
    if (text !== null) entries[name] = text;
  };
  if (kind === 'batch') return entries;
  const workspace = services.workspace(typeof document['workspace'] === 'string' ? document['workspace'] : null);
  const { plan, header } = context ?? {};
  if (plan !== undefined) await attempt('plan.json', async () => json(await workspace.getJson(plan)));
  if (header !== undefined) await attempt('header.json', async () => json(await workspace.getJson(header)));
  // By its kind.
  for (const [index, { uri }] of (result as PipelineResult).outputs.entries())
    await attempt(index === 0 ? 'manifest.json' : `manifest-${index + 1}.json`, async () => {
      await services.storage.check(uri);
      return destinationOf(services.storage, uri).read(manifestPath(uri));
    });
  return entries;
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

interface ReplayOptions extends OutputOptions {
  readonly timeout: number;
}

export async function replay(file: string, options: ReplayOptions): Promise<void> {
  const path = resolve(callerFolder(), file);
  const histories = await (await import('../../replay.ts')).replayBundle(path, options.timeout);
  const different = histories.filter(({ difference }) => difference !== null);
  if (different.length > 0)
    throw new CheckpointIncompatibleError(
      `${path}: the installed workflow code takes other steps than this run: ${different.map(({ history, difference }) => `${histories.length > 1 ? `${history}: ` : ''}${difference}`).join('; ')}.`,
      {
        details: {
          bundle: path,
          version: packageVersion(),
          suggestion: 'Let workers of the version that began such runs finish them.',
        } satisfies JsonObject,
      },
    );
  if (options.json === true)
    return printJson({
      bundle: path,
      replays: true,
      version: packageVersion(),
      histories: histories.map(({ history, events }) => ({ history, events })),
    });
  const runs = histories.length > 1 ? ` (${histories.length} runs)` : '';
  print(`${path}: replays with the installed workflow code${runs}`);
}
