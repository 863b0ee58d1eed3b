/** `ckpt doctor`: looks at everything that runs depend on and changes nothing; exit 1 where something will not work. */
import { textOf } from '../../../errors.ts';
import { isS3 } from '../../../io/s3/location.ts';
import { problem, remark, type Finding, type FindingStatus } from '../../doctor/finding.ts';
import { filesFinding, folderFinding, nodeFinding, openFilesLimit } from '../../doctor/machine.ts';
import { readEnvironment } from '../../environment.ts';
import { paintFor, type Color } from '../colors.ts';
import { printJson, printPainted, type OutputOptions } from '../output.ts';
import { inLines } from '../visible.ts';

interface DoctorOptions extends OutputOptions {
  readonly storage?: string;
}

const MARKS: Readonly<Record<FindingStatus, readonly [mark: string, color: Color]>> = {
  ok: ['✔', 'green'],
  note: ['·', 'dim'],
  warning: ['!', 'yellow'],
  problem: ['✖', 'red'],
};

export async function doctor(places: readonly string[], options: DoctorOptions): Promise<void> {
  const environment = readEnvironment();
  const { workspace, stateFolder, cacheFolder } = environment;
  const local = places.filter((place) => !isS3(place));
  const files = filesFinding(openFilesLimit());
  const findings: readonly Finding[] = [
    nodeFinding(process.versions.node),
    ...(files === null ? [] : [files]),
    ...(await group('server', async () => (await import('../../doctor/server.ts')).serverFindings(environment))),
    await folderFinding('state', stateFolder),
    await folderFinding('cache', cacheFolder),
    ...(isS3(workspace) ? [remark('workspace', workspace)] : [await folderFinding('workspace', workspace)]),
    ...(await Promise.all(local.map((folder) => folderFinding('folder', folder)))),
    ...(await group('store', () => stores(options, [workspace, ...places]))),
  ];
  const wrong = findings.some(({ status }) => status === 'problem');
  if (options.json === true) printJson({ status: wrong ? 'problem' : 'ok', findings });
  else printPainted(table(inLines(findings)));
  if (wrong) process.exitCode = 1;
}

async function stores({ storage: file }: DoctorOptions, places: readonly string[]): Promise<readonly Finding[]> {
  const { configuredStorage } = await import('../../storage.ts');
  const storage = await configuredStorage({ file, inputs: 'own' });
  try {
    const { storeFindings } = await import('../../doctor/stores.ts');
    return await storeFindings(storage, places);
  } finally {
    storage.close();
  }
}

/** A check that itself breaks is a finding, too, and the others go on. */
async function group(check: string, look: () => Promise<readonly Finding[]>): Promise<readonly Finding[]> {
  try {
    return await look();
  } catch (error) {
    return [problem(check, textOf(error), 'Run it again with --debug.')];
  }
}

function table(findings: readonly Finding[]): string {
  const paint = paintFor(process.stdout);
  const marked = (status: FindingStatus): string => paint(MARKS[status][1], MARKS[status][0]);
  const width = Math.max(...findings.map(({ check }) => check.length));
  return findings
    .flatMap(({ check, status, message, advice }) => [
      `${marked(status)} ${check.padEnd(width)}  ${message}`,
      ...(advice === null ? [] : [`  ${' '.repeat(width)}  → ${advice}`]),
    ])
    .join('\n');
}
