/** CPU profiles of the command: where its own time goes, by function, summed over its threads' profiles. */
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { PROJECT_ROOT } from './project.ts';

interface Frame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly children?: readonly number[]; readonly callFrame: Frame }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Lines of the summary of one profile. */
const MOST_LINES = 20;
/** URLs of our own code begin so. */
const OURS = `${pathToFileURL(join(PROJECT_ROOT, 'dist')).href}/`;
/** V8's names for what is not work of the program. */
const IDLE = new Set(['(idle)', '(root)']);

/** For each `.cpuprofile` of a folder: milliseconds on and off the processor, and the functions with the most time of their own. */
export async function profileSummary(folder: string): Promise<string> {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.cpuprofile')).sort();
  const parts = await Promise.all(files.map(async (file) => summary(join(folder, file))));
  return parts.join('\n\n');
}

async function summary(path: string): Promise<string> {
  // The profiler's own format, written by Node a moment ago.
  const profile = JSON.parse(await readFile(path, 'utf8')) as CpuProfile;
  const nodes = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
  const parents = new Map(profile.nodes.flatMap(({ id, children }) => (children ?? []).map((child) => [child, id] as const)));
  const self = new Map<string, number>();
  const total = new Map<string, number>();
  const owners = new Map<string, number>();
  let busy = 0;
  let idle = 0;
  for (const [index, sample] of profile.samples.entries()) {
    const ms = (profile.timeDeltas[index] ?? 0) / 1000;
    const name = label(nodes.get(sample));
    if (IDLE.has(name)) {
      idle += ms;
      continue;
    }
    busy += ms;
    self.set(name, (self.get(name) ?? 0) + ms);
    const seen = new Set<string>();
    for (let at: number | undefined = sample; at !== undefined; at = parents.get(at)) {
      const frame = nodes.get(at);
      if (frame !== undefined && frame.url.startsWith(OURS)) seen.add(label(frame));
    }
    const owner = ownerOf(sample, nodes, parents);
    owners.set(owner, (owners.get(owner) ?? 0) + ms);
    for (const caller of seen) total.set(caller, (total.get(caller) ?? 0) + ms);
  }
  const lines = (times: ReadonlyMap<string, number>): readonly string[] =>
    [...times]
      .sort((a, b) => b[1] - a[1])
      .slice(0, MOST_LINES)
      .map(([name, ms]) => `  ${((ms / busy) * 100).toFixed(1).padStart(5)} %  ${ms.toFixed(0).padStart(6)} ms  ${name}`);
  return [
    `${basename(path)}: ${busy.toFixed(0)} ms busy, ${idle.toFixed(0)} ms idle`,
    ...lines(self),
    ' by package, or module of ours (what Node does goes to the nearest caller):',
    ...lines(owners),
    ' our own functions with what they call (what follows an await counts for whoever resumes it):',
    ...lines(total),
  ].join('\n');
}

/** The package or module of ours that is nearest among a frame and its callers. */
function ownerOf(sample: number, nodes: ReadonlyMap<number, Frame>, parents: ReadonlyMap<number, number>): string {
  for (let at: number | undefined = sample; at !== undefined; at = parents.get(at)) {
    const url = nodes.get(at)?.url ?? '';
    if (url.startsWith(OURS)) return url.slice(OURS.length);
    const name = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
    if (name !== undefined) return name;
  }
  return 'node';
}

function label(frame: Frame | undefined): string {
  const name = frame?.functionName || '(anonymous)';
  return frame === undefined || frame.url === '' ? name : `${name}  ${shortUrl(frame.url)}:${frame.lineNumber + 1}`;
}

function shortUrl(url: string): string {
  const path = url.startsWith('file:') ? fileURLToPath(url) : url;
  return path.replace(/^.*\/(dist|node_modules)\//, (_, folder: string) => (folder === 'dist' ? '' : 'node_modules/'));
}
