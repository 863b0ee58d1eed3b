/** What every modifier does around the pure part: take the plan, keep the new one, append to `modifiers_applied`. */
import { CheckpointError, type Json, type JsonObject } from '../src/errors.ts';
import { inSlices } from '../src/io/breath.ts';
import { isMapping, listIn } from '../src/model/json.ts';
import { FROZEN_KEY, type Plan } from '../src/model/plan.ts';
import type { Target } from '../src/model/target.ts';
import { withWarnings } from '../src/model/warnings.ts';
import { plannedOf } from '../src/transform/planned.ts';
import { briefEntry, briefList, withRecord } from '../src/transform/record.ts';
import { wordFor, wrongReturn } from './outcome.ts';
import type { StageCall, StageOutcome } from './stage.ts';

export interface Modified {
  readonly plan: Plan;
  readonly summary: string;
  /** Appended to `modifiers_applied`: complete in the stored plan, with its lists cut in the run's metadata. */
  readonly entry?: JsonObject | undefined;
  readonly warnings?: readonly string[];
  /** Names or selection changed: the loader's target describes the plan no more. */
  readonly leavesTarget?: boolean;
  /** Further keys of the run's metadata. */
  readonly metadata?: JsonObject;
}

/** `target` is what the last loader judged by, where there was one. A generator does its work in slices, and yields between them. */
export async function modifyPlan(
  call: StageCall<unknown>,
  modify: (plan: Plan, target: Target | undefined, configPath: string) => Modified | Generator<void, Modified>,
): Promise<StageOutcome> {
  const { context, services, run, stage } = call;
  if (context.plan === undefined) {
    throw new CheckpointError(`${stage.type} requires model: put a loader before it.`, {
      retryable: false,
      details: { stage: stage.type, missing_fields: ['model'] },
    });
  }
  const workspace = services.workspace(run.workspace);
  // The workspace verifies digests: what is read is what an earlier stage of this run wrote.
  const before = (await workspace.getJson(context.plan)) as Plan;
  const known = context.target === undefined ? undefined : ((await workspace.getJson(context.target)) as Target);
  const work = modify(before, known, `stages[${stage.index}]`);
  const done = isSliced(work) ? await inSlices(work, call.signal) : work;
  // A plug-in may be plain JavaScript, and the function of one asynchronous.
  if (!isMapping((done as Partial<Modified> | undefined)?.plan))
    throw wrongReturn(
      stage.type,
      isMapping(done) ? 'no `plan`' : wordFor(done),
      '{plan, summary} of the function that it gives `modifyPlan`, not a promise of it',
    );
  const { target: knownTarget, ...others } = context;
  const applied = listIn(before.record?.['modifiers_applied']);
  const plan = done.entry === undefined ? done.plan : withRecord(done.plan, { modifiers_applied: [...applied, done.entry] });
  const metadata: Record<string, Json> = {
    ...context.metadata,
    ...(done.entry === undefined
      ? {}
      : { modifiers_applied: [...listIn(context.metadata['modifiers_applied']), briefEntry(done.entry)].slice(-20) }),
    ...(plan.frozen.length === 0 ? {} : briefList(FROZEN_KEY, 'num_frozen', plan.frozen)),
    ...(done.warnings === undefined || done.warnings.length === 0
      ? {}
      : {
          warnings: withWarnings(
            context.metadata,
            done.warnings.map((text) => text.slice(0, 300)),
          ),
        }),
    ...done.metadata,
  };
  const reference = await workspace.putJson(plan);
  if (reference.sha256 !== context.plan.sha256) workspace.forget(context.plan);
  return {
    context: {
      ...others,
      ...(knownTarget === undefined || done.leavesTarget === true ? {} : { target: knownTarget }),
      plan: reference,
      planned: plannedOf(plan),
      metadata,
    },
    summary: done.summary,
  };
}

function isSliced(work: Modified | Generator<void, Modified>): work is Generator<void, Modified> {
  return typeof work === 'object' && work !== null && Symbol.iterator in work;
}
