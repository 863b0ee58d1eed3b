/** Schedules over Temporal's own: what runs when, and what became of it. */
import { createHash } from 'node:crypto';
import {
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  WorkflowNotFoundError,
  type ScheduleDescription,
  type ScheduleExecutionResult,
  type ScheduleHandle,
  type ScheduleOptions,
  type ScheduleOptionsStartWorkflowAction,
} from '@temporalio/client';
import type { Workflow } from '@temporalio/common';
import { msToTs, tsToMs } from '@temporalio/common/lib/time.js';
import { CheckpointConfigError, CheckpointNotFoundError, isCheckpointError, type Json } from '../errors.ts';
import { canonicalJson } from '../model/json-text.ts';
import { checkScheduleId } from '../pipeline/names.ts';
import {
  checkSchedule,
  SCHEDULE_MEMO,
  type Overlap,
  type ScheduleChange,
  type ScheduledRun,
  type ScheduleEntry,
  type ScheduleInput,
  type ScheduleState,
} from '../pipeline/schedule.ts';
import type { CheckpointBatches } from './batch-client.ts';
import type { CheckpointClient } from './client.ts';
import { refuseRelative } from './relative.ts';
import { kindOf, milliseconds, policyOf, refused, specOf, timingOf, workOf } from './schedule-definition.ts';
import { describedDigest } from './schedule-digest.ts';
import { declaredNote, isOurs, PAUSED, saidOf, saysOthers, UNPAUSED, type Said } from './schedule-notes.ts';
import { knownAttributes, startOptions, type Access, type Work } from './start.ts';

/** Runs that a backfill may start unless it is told otherwise: nothing but deleting the schedule stops one under way. */
const BACKFILL_MOST = 1000;
/** Milliseconds between looks for what a trigger has started or a pause has changed, and looks in all. */
const LOOK = 200;
const LOOKS = 25;

export interface AppliedSchedule {
  readonly id: string;
  readonly outcome: 'created' | 'updated' | 'unchanged';
}

/** What a trigger came to: the run, or that the schedule's overlap policy let it start none (yet). */
export interface Triggered {
  readonly id: string;
  readonly workflow_id: string | null;
  readonly skipped: boolean;
}

export interface BackfillRange {
  readonly from: Date;
  readonly to: Date;
  /** Default `buffer_all`: one after the other. */
  readonly overlap?: Overlap;
  /** More starts than this are a `CheckpointConfigError`; default 1000. */
  readonly most?: number;
}

/** What a backfill comes to; with an `overlap` such as `skip` some of the starts may start no run. */
export interface Backfilled {
  readonly id: string;
  readonly starts: number;
}

type Action = ScheduleOptionsStartWorkflowAction<Workflow>;
type Definition = Required<Pick<ScheduleOptions<Action>, 'spec' | 'action' | 'policies'>> & { readonly digest: string };

/** Schedules of pipelines and batches. */
export class CheckpointSchedules {
  readonly #access: Access;
  readonly #runs: Pick<CheckpointClient, 'settled'>;
  readonly #batches: Pick<CheckpointBatches, 'settled'>;

  constructor(access: Access, runs: Pick<CheckpointClient, 'settled'>, batches: Pick<CheckpointBatches, 'settled'>) {
    this.#access = access;
    this.#runs = runs;
    this.#batches = batches;
  }

  /** Creates a schedule; one that says the same is left as it is, another one of that id is a `CheckpointConfigError`. */
  async create(id: string, input: ScheduleInput): Promise<AppliedSchedule> {
    const applied = await this.#put(id, input, false);
    if (applied !== null) return applied;
    throw new CheckpointConfigError(
      `A schedule ${id} exists with other settings. \`ckpt schedule apply\` replaces it, \`ckpt schedule update\` changes it.`,
      undefined,
      {
        details: { schedule_id: id },
      },
    );
  }

  /** Creates a schedule, or makes the one of that id say this. Whether it is paused is left as it is. */
  async apply(id: string, input: ScheduleInput): Promise<AppliedSchedule> {
    // The second form never gives null.
    return (await this.#put(id, input, true))!;
  }

  /** Changes what is given and keeps the rest; writes it whether it differs or not. */
  async update(id: string, change: ScheduleChange): Promise<AppliedSchedule> {
    const before = await this.#describe(id);
    const { timing } = saidOf(before);
    const { kind, input } = workOf(before);
    // Either of the two takes the place of the other.
    const replaced = change.cron !== undefined ? ['every', 'offset'] : change.every !== undefined ? ['cron'] : [];
    const kept = Object.fromEntries(Object.entries(timing).filter(([key]) => !replaced.includes(key)));
    const work = (change.pipeline ?? change.batch) === undefined ? { [kind]: input } : {};
    const note = change.note ?? declaredNote(before);
    const next = checkSchedule({ ...kept, ...work, ...change, ...(note === null ? {} : { note }) });
    await this.#write(id, next, await this.#definition(id, next), change.note);
    return { id, outcome: 'updated' };
  }

  /** All schedules of pipelines and batches, each with its last run. */
  async *list(): AsyncGenerator<ScheduleEntry, void, void> {
    for await (const { scheduleId, action, state, info } of this.#access.client.schedule.list()) {
      const kind = kindOf(action?.workflowType);
      if (kind === null) continue;
      const { paused, note = null } = state;
      const runs = await this.#ran(kind, info.recentActions.slice(-1));
      yield {
        id: scheduleId,
        kind,
        paused,
        note: note === '' ? null : note,
        next: paused ? [] : info.nextActionTimes.slice(0, 1).map(isoOf),
        runs,
      };
    }
  }

  /** How a schedule stands, with its last ten runs. */
  async describe(id: string): Promise<ScheduleState> {
    const description = await this.#describe(id);
    const { state, info } = description;
    const { kind, input } = workOf(description);
    return {
      id,
      kind,
      name: input.name ?? null,
      paused: state.paused,
      note: state.note === undefined || state.note === '' ? null : state.note,
      timing: saidOf(description).timing,
      next: state.paused ? [] : info.nextActionTimes.slice(0, 5).map(isoOf),
      runs: await this.#ran(kind, info.recentActions),
      started: info.numActionsTaken,
      skipped: info.numActionsSkippedOverlap,
      missed: info.numActionsMissedCatchupWindow,
    };
  }

  /** Starts nothing until `unpause`, but for what is triggered and for a backfill under way. Without a note, the schedule keeps its own. */
  async pause(id: string, note = ''): Promise<void> {
    const text = note === '' ? await this.#noteAt(id, true) : note;
    await this.#on(id, (handle) => handle.pause(text));
    await this.#shows(id, ({ state }) => state.paused && state.note === text);
  }

  /** Without a note, the schedule has its own again. */
  async unpause(id: string, note = ''): Promise<void> {
    const text = note === '' ? await this.#noteAt(id, false) : note;
    await this.#on(id, (handle) => handle.unpause(text));
    await this.#shows(id, ({ state }) => !state.paused && state.note === text);
  }

  /** Starts a run now, also of a paused schedule. */
  async trigger(id: string, overlap?: Overlap): Promise<Triggered> {
    const { info: before, policies } = await this.#describe(id);
    // Without a policy, the SDK would allow all.
    await this.#on(id, (handle) => handle.trigger(overlap === undefined ? policies.overlap : policyOf(overlap)));
    for (let look = 0; look < LOOKS; look++) {
      const { info } = await this.#describe(id);
      const known = new Set(before.recentActions.map(workflowIdOf));
      const run = info.recentActions.map(workflowIdOf).find((one) => !known.has(one));
      if (run !== undefined) return { id, workflow_id: run, skipped: false };
      if (info.numActionsSkippedOverlap > before.numActionsSkippedOverlap) return { id, workflow_id: null, skipped: true };
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
    return { id, workflow_id: null, skipped: false };
  }

  /** Starts what the schedule would have started between two times. A pause does not stop it; `delete` does, but for the run under way. */
  async backfill(id: string, { from, to, overlap = 'buffer_all', most = BACKFILL_MOST }: BackfillRange): Promise<Backfilled> {
    if (!(from.getTime() < to.getTime())) throw new CheckpointConfigError('A backfill goes from an earlier time to a later one.');
    const backfill = { start: from, end: to, overlap: policyOf(overlap) };
    const starts = await this.#starts(id, from, to, most);
    await this.#on(id, (handle) => handle.backfill(backfill));
    return { id, starts };
  }

  /** Runs that are under way go on. */
  async delete(id: string): Promise<void> {
    await this.#on(id, (handle) => handle.delete());
  }

  /** How many times between two a schedule has, or a `CheckpointConfigError` once they are more than `most`. */
  async #starts(id: string, from: Date, to: Date, most: number): Promise<number> {
    const { workflowService, options } = this.#access.client;
    // Says so where there is no such schedule.
    await this.#describe(id);
    let count = 0;
    // The server leaves out the time that it begins at, and tells a part of many.
    for (let after = from.getTime() - 1; ;) {
      const request = { namespace: options.namespace, scheduleId: id, startTime: msToTs(after), endTime: msToTs(to.getTime()) };
      const times = (await workflowService.listScheduleMatchingTimes(request)).startTime ?? [];
      const last = times.at(-1);
      if (last === undefined) return count;
      count += times.length;
      after = tsToMs(last);
      if (count <= most) continue;
      const all = Math.round((count * (to.getTime() - from.getTime())) / (after - from.getTime()));
      throw new CheckpointConfigError(
        `The backfill of ${id} has more than ${most} starts (some ${Math.max(all, count)} at this rate), and once it is under way only deleting the schedule stops it. Name a shorter time, or allow so many: \`--most N\`, in a program \`most\`.`,
        undefined,
        { details: { schedule_id: id, most } },
      );
    }
  }

  /** Null: there is one that says something else, and it may not be changed. */
  async #put(id: string, given: ScheduleInput, change: boolean): Promise<AppliedSchedule | null> {
    checkScheduleId(id);
    const input = checkSchedule(given);
    const { digest, ...definition } = await this.#definition(id, input);
    try {
      const state = { paused: input.paused === true, ...(input.note === undefined ? {} : { note: input.note }) };
      await this.#access.client.schedule.create({ scheduleId: id, ...definition, state });
      await this.#remember(id, definition);
      return { id, outcome: 'created' };
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw refused(error, input);
    }
    const before = await this.#describe(id);
    const said = saidOf(before);
    const says = said.digest === digest && said.described === describedDigest(before);
    const noted = saysOthers(before) || (input.note ?? '') === '' || input.note === before.state.note;
    if (says && noted) return { id, outcome: 'unchanged' };
    if (!change) return null;
    await this.#write(id, input, { digest, ...definition });
    return { id, outcome: 'updated' };
  }

  /** `asked`: a note that is to be shown, whatever a pause has said. */
  async #write(id: string, input: ScheduleInput, { spec, action, policies }: Definition, asked?: string): Promise<void> {
    await this.#on(id, (handle) =>
      handle
        .update((before) => {
          const { state } = before;
          const note = asked ?? (saysOthers(before) ? state.note : input.note);
          return { spec, action, policies, state: { paused: state.paused, ...(note === undefined ? {} : { note }) } };
        })
        .catch((error: unknown) => Promise.reject(refused(error, input))),
    );
    await this.#remember(id, { spec, action, policies });
  }

  /** Writes down how the server tells what was written a moment ago. */
  async #remember(id: string, { spec, action, policies }: Omit<Definition, 'digest'>): Promise<void> {
    const described = describedDigest(await this.#describe(id));
    const said = { ...(action.memo?.[SCHEDULE_MEMO] as Said), described } satisfies Said;
    await this.#on(id, (handle) =>
      handle.update(({ state: { paused, note } }) => ({
        spec,
        policies,
        action: { ...action, memo: { ...action.memo, [SCHEDULE_MEMO]: said } },
        state: { paused, ...(note === undefined ? {} : { note }) },
      })),
    );
    // What is not taken yet would undo a pause that comes now.
    await this.#shows(id, (now) => saidOf(now).described === described);
  }

  /** What it says where no note comes with a pause or its end: its own; where nothing changes, what it says already. */
  async #noteAt(id: string, paused: boolean): Promise<string> {
    const now = await this.#on(id, (handle) => handle.describe());
    const shown = now.state.note ?? '';
    const stays = now.state.paused === paused && shown !== '' && !isOurs(shown);
    return (stays ? shown : declaredNote(now)) ?? (paused ? PAUSED : UNPAUSED);
  }

  /** Until the server tells of it, which now and then takes a moment: what is asked next is to see it. */
  async #shows(id: string, holds: (now: ScheduleDescription) => boolean): Promise<void> {
    for (let look = 0; look < LOOKS; look++) {
      if (holds(await this.#on(id, (handle) => handle.describe()))) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
  }

  async #definition(id: string, input: ScheduleInput): Promise<Definition> {
    const { client, taskQueue } = this.#access;
    const timing = timingOf(input);
    const work: Work = input.batch === undefined ? { kind: 'pipeline', input: input.pipeline } : { kind: 'batch', input: input.batch };
    const present = (await knownAttributes(client))?.present ?? [];
    const { memo, ...start } = startOptions(work, present);
    refuseRelative(work);
    // A document is plain JSON, as is all that stands in it.
    const whole = { timing, note: input.note ?? null, kind: work.kind, input: work.input, taskQueue, present } as unknown as Json;
    const digest = createHash('sha256').update(canonicalJson(whole)).digest('hex');
    const said: Said = { digest, timing, note: input.note ?? null };
    return {
      digest,
      spec: specOf(timing),
      policies: {
        overlap: policyOf(timing.overlap ?? 'skip'),
        ...(timing.catch_up === undefined ? {} : { catchupWindow: milliseconds(timing.catch_up, 'catch_up') }),
      },
      action: { type: 'startWorkflow', workflowId: id, taskQueue, ...start, memo: { ...memo, [SCHEDULE_MEMO]: said } },
    };
  }

  /** Newest first. */
  async #ran(kind: Work['kind'], actions: readonly ScheduleExecutionResult[]): Promise<readonly ScheduledRun[]> {
    return Promise.all(actions.toReversed().map((action) => this.#ranOne(kind, action)));
  }

  async #ranOne(kind: Work['kind'], { scheduledAt, takenAt, action }: ScheduleExecutionResult): Promise<ScheduledRun> {
    const { workflowId, firstExecutionRunId: runId } = action.workflow;
    const base = { workflow_id: workflowId, run_id: runId, scheduled: isoOf(scheduledAt), started: isoOf(takenAt) };
    try {
      const { status } = await this.#access.client.workflow.getHandle(workflowId).describe();
      if (status.name === 'RUNNING') return { ...base, outcome: 'running', error: null };
      const run = { workflowId, runId };
      const ended = kind === 'pipeline' ? await this.#runs.settled(run) : await this.#batches.settled(run);
      const error = ended.error === null ? null : { type: ended.error.type, message: ended.error.message };
      return { ...base, outcome: ended.status, error, ...('failed' in ended ? { failed: ended.failed } : {}) };
    } catch (error) {
      if (!isGone(error)) throw error;
      return { ...base, outcome: 'lost', error: null };
    }
  }

  async #describe(id: string): Promise<ScheduleDescription> {
    return this.#on(id, async (handle) => {
      const description = await handle.describe();
      if (kindOf(description.action.workflowType) !== null) return description;
      throw new CheckpointConfigError(
        `The schedule ${id} starts workflows of type ${description.action.workflowType}, which is neither a pipeline nor a batch.`,
      );
    });
  }

  async #on<T>(id: string, act: (handle: ScheduleHandle) => Promise<T>): Promise<T> {
    checkScheduleId(id);
    return act(this.#access.client.schedule.getHandle(id)).catch((error: unknown) => {
      if (!(error instanceof ScheduleNotFoundError)) throw error;
      throw new CheckpointNotFoundError(
        `There is no schedule ${id} on this server. \`ckpt schedule list\`, or \`schedules.list()\`, shows all.`,
        id,
        {
          cause: error,
        },
      );
    });
  }
}

/** Whether a server has said that it has no such run; one that did not answer may well have it. */
function isGone(error: unknown): boolean {
  return error instanceof WorkflowNotFoundError || (isCheckpointError(error) && error.code === 'CheckpointNotFoundError');
}

function workflowIdOf({ action }: ScheduleExecutionResult): string {
  return action.workflow.workflowId;
}

function isoOf(time: Date): string {
  return time.toISOString();
}
