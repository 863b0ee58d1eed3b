/** `ckpt schedule create|apply|update|list|describe|pause|unpause|trigger|backfill|delete`. */
import { CheckpointConfigError, isCheckpointError } from '../../../errors.ts';
import { formatCount } from '../../../model/text.ts';
import type { BatchInput } from '../../../pipeline/batch.ts';
import type { PipelineInput } from '../../../pipeline/contract.ts';
import {
  checkOneWork,
  checkSchedule,
  type Overlap,
  type ScheduleChange,
  type ScheduledRun,
  type ScheduleState,
  type Timing,
} from '../../../pipeline/schedule.ts';
import type { AppliedSchedule, CheckpointSchedules } from '../../schedule-client.ts';
import { connectTemporal, type TemporalAccess } from '../../temporal/connect.ts';
import { documentSettings, type DocumentOptions } from '../document.ts';
import { logger, note, noteWarnings, print, printJson, type OutputOptions } from '../output.ts';
import { callerFolder } from '../paths.ts';
import { readSchedule, readWork } from '../schedule-document.ts';
import { checkStays, clientOf, linkOf } from '../with-server.ts';

/** Settings of a schedule as flags; the names are those of the document. */
export interface TimingOptions {
  readonly pipeline?: string;
  readonly batch?: string;
  readonly cron?: readonly string[];
  readonly every?: string;
  readonly offset?: string;
  readonly timeZone?: string;
  readonly jitter?: string;
  readonly overlap?: Overlap;
  readonly catchUp?: string;
  readonly note?: string;
}

type CreateOptions = OutputOptions & DocumentOptions & TimingOptions & { readonly paused?: boolean };

export async function apply(file: string, options: OutputOptions & DocumentOptions): Promise<void> {
  const { id, input, locate } = await readSchedule(file, documentSettings(options, note));
  noteWork(input);
  await withSchedules(options, async (schedules) => {
    const applied = await schedules.apply(id, input).catch((error: unknown) => {
      throw isCheckpointError(error) && 'config_path' in error.details ? locate(error) : error;
    });
    show(applied, options);
  });
}

export async function create(id: string, options: CreateOptions): Promise<void> {
  checkOneWork({ pipeline: options.pipeline, batch: options.batch });
  const work = await readWork(options, callerFolder(), documentSettings(options, note));
  noteWork(work);
  const input = checkSchedule({ ...changeOf(options), ...(options.paused === true ? { paused: true } : {}), ...work });
  await withSchedules(options, async (schedules) => show(await schedules.create(id, input), options));
}

export async function update(id: string, options: CreateOptions): Promise<void> {
  const named = options.pipeline !== undefined || options.batch !== undefined;
  if (named) checkOneWork({ pipeline: options.pipeline, batch: options.batch });
  const work = named ? await readWork(options, callerFolder(), documentSettings(options, note)) : {};
  noteWork(work);
  const change = { ...changeOf(options), ...work };
  if (Object.keys(change).length === 0) throw new CheckpointConfigError('Say what changes: `--cron`, `--every`, `--pipeline` …');
  await withSchedules(options, async (schedules) => show(await schedules.update(id, change), options));
}

/** Nobody is there to read them when it starts. */
function noteWork({ pipeline, batch }: { readonly pipeline?: PipelineInput | undefined; readonly batch?: BatchInput | undefined }): void {
  const started = pipeline ?? batch?.pipeline;
  if (started !== undefined) noteWarnings(started);
}

function changeOf({ cron, every, offset, timeZone, jitter, overlap, catchUp, note: text }: TimingOptions): ScheduleChange {
  const given = { every, offset, time_zone: timeZone, jitter, overlap, catch_up: catchUp, note: text };
  return {
    // The documents of the others are checked with the whole.
    ...(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as ScheduleChange),
    ...(cron === undefined ? {} : { cron: cron.length === 1 ? cron[0]! : cron }),
  };
}

export async function list(options: OutputOptions): Promise<void> {
  await withSchedules(options, async (schedules, temporal) => {
    const all = [];
    for await (const entry of schedules.list()) all.push({ ...entry, runs: entry.runs.map((run) => linked(run, temporal)) });
    if (options.json === true) return printJson({ schedules: all });
    if (all.length === 0) print('No schedules. `ckpt schedule apply schedule.yaml` makes one.');
    const width = Math.max(0, ...all.map(({ id }) => id.length));
    for (const { id, kind, paused, next, runs } of all) {
      const last = runs[0] === undefined ? 'never ran' : `last ${outcomeText(runs[0])}`;
      print(`${id.padEnd(width)}  ${kind.padEnd(8)}  ${paused ? 'paused' : `next ${next[0] ?? 'never'}`}  ${last}`);
    }
  });
}

export async function describe(id: string, options: OutputOptions): Promise<void> {
  await withSchedules(options, async (schedules, temporal) => {
    const state = await schedules.describe(id);
    const link = scheduleLink(temporal, id);
    const runs = state.runs.map((run) => linked(run, temporal));
    if (options.json === true) return printJson({ ...state, runs, link });
    const lines = [
      `Schedule ${id}: ${state.kind}${state.name === null ? '' : ` ${state.name}`}${state.paused ? ', paused' : ''}`,
      `  ${timingText(state.timing)}`,
      ...(state.note === null ? [] : [`  note ${state.note}`]),
      ...(state.paused || state.next.length === 0 ? [] : [`  next ${state.next.slice(0, 3).join(', ')}`]),
      `  ${countsText(state)}`,
      ...runs.flatMap((run) => [`  ${run.started}  ${outcomeText(run)}`, `    ${run.link ?? run.workflow_id}`]),
      ...(link === null ? [] : ['', `Schedule in the Temporal UI: ${link}`]),
    ];
    print(lines);
  });
}

export async function pause(id: string, options: OutputOptions & { readonly note?: string }): Promise<void> {
  await withSchedules(options, async (schedules) => {
    await schedules.pause(id, options.note);
    say(
      { id, paused: true },
      `${id} is paused; \`ckpt schedule unpause ${id}\` lets it go on. Runs and a backfill that are under way are not stopped by it.`,
      options,
    );
  });
}

export async function unpause(id: string, options: OutputOptions & { readonly note?: string }): Promise<void> {
  await withSchedules(options, async (schedules) => {
    await schedules.unpause(id, options.note);
    say({ id, paused: false }, `${id} goes on.`, options);
  });
}

export async function trigger(id: string, options: OutputOptions & { readonly overlap?: Overlap }): Promise<void> {
  await withSchedules(options, async (schedules, temporal) => {
    const triggered = await schedules.trigger(id, options.overlap);
    const { workflow_id: run, skipped } = triggered;
    const link = run === null ? null : linkOf(temporal, run);
    const waits = skipped
      ? 'The run before has not ended, so none was started (`--overlap` says otherwise).'
      : `No run has begun yet; \`ckpt schedule describe ${id}\` shows it when it has.`;
    say({ ...triggered, link }, run === null ? waits : [`Started ${run}`, ...(link === null ? [] : [link])], options);
  });
}

export interface BackfillOptions extends OutputOptions {
  readonly from: string;
  readonly to: string;
  readonly overlap?: Overlap;
  readonly most?: number;
}

export async function backfill(id: string, options: BackfillOptions): Promise<void> {
  const range = { from: timeOf('--from', options.from), to: timeOf('--to', options.to) };
  await withSchedules(options, async (schedules) => {
    const { overlap, most } = options;
    const { starts } = await schedules.backfill(id, {
      ...range,
      ...(overlap === undefined ? {} : { overlap }),
      ...(most === undefined ? {} : { most }),
    });
    const report = { id, from: range.from.toISOString(), to: range.to.toISOString(), starts };
    const end = starts > 1 ? ` A pause does not stop that; \`ckpt schedule delete ${id}\` does, but for runs under way.` : '';
    say(
      report,
      `${id} starts what it would have started from ${report.from} to ${report.to}: ${formatCount(starts, 'start')}.${end}`,
      options,
    );
  });
}

export async function remove(id: string, options: OutputOptions): Promise<void> {
  await withSchedules(options, async (schedules) => {
    await schedules.delete(id);
    say({ id, deleted: true }, `${id} is deleted; runs that are under way go on.`, options);
  });
}

async function withSchedules(
  options: OutputOptions,
  act: (schedules: CheckpointSchedules, temporal: TemporalAccess) => Promise<void>,
): Promise<void> {
  const temporal = await connectTemporal({ log: logger(options), hasWorker: false });
  try {
    checkStays(temporal, 'A schedule');
    await act((await clientOf(temporal)).schedules, temporal);
  } finally {
    await temporal.close();
  }
}

function show({ id, outcome }: AppliedSchedule, options: OutputOptions): void {
  say({ id, outcome }, `Schedule ${id}: ${outcome}`, options);
}

function say(report: unknown, lines: string | readonly string[], options: OutputOptions): void {
  if (options.json === true) printJson(report);
  else print(lines);
}

function timeOf(flag: string, text: string): Date {
  const time = new Date(text);
  // Without a zone a time of day would be this machine's.
  if (!Number.isNaN(time.getTime()) && (/^\d{4}-\d\d-\d\d$/.test(text) || /(Z|[+-]\d\d:?\d\d)$/.test(text))) return time;
  throw new CheckpointConfigError(
    `\`${flag} ${text}\`: expected a date (2026-11-01, in UTC) or a time with its zone (2026-11-01T03:00:00Z).`,
  );
}

function linked(run: ScheduledRun, temporal: TemporalAccess): ScheduledRun & { readonly link: string | null } {
  return { ...run, link: linkOf(temporal, run.workflow_id) };
}

function scheduleLink({ uiUrl, namespace }: TemporalAccess, id: string): string | null {
  return uiUrl === null ? null : `${uiUrl}/namespaces/${namespace}/schedules/${encodeURIComponent(id)}`;
}

function outcomeText({ outcome, error, failed = 0 }: ScheduledRun): string {
  const items = failed === 0 ? '' : ` (${formatCount(failed, 'item')} failed)`;
  return `${outcome}${items}${error === null ? '' : `: ${error.type}: ${error.message.slice(0, 200)}`}`;
}

function timingText(timing: Timing): string {
  const { cron, every } = timing;
  const when = [cron === undefined ? '' : `cron ${[cron].flat().join('; ')}`, every === undefined ? '' : `every ${every}`].join('');
  const rest = (['offset', 'time_zone', 'jitter', 'overlap', 'catch_up'] as const).filter((key) => timing[key] !== undefined);
  return when === '' ? 'times that another program has set' : [when, ...rest.map((key) => `${key} ${timing[key]}`)].join(', ');
}

function countsText({ started, skipped, missed }: ScheduleState): string {
  return `${formatCount(started, 'run')} started, ${skipped} skipped as the one before had not ended, ${missed} missed`;
}
