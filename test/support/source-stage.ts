/** A source stage as its activity runs it, without a server. */
import { parseOptions, type Catalog } from '../../activities/catalog.ts';
import type { Services } from '../../activities/services.ts';
import type { StageOutcome } from '../../activities/stage.ts';
import type { CheckpointError, JsonObject } from '../../src/errors.ts';
import { slots } from '../../src/io/slots.ts';
import { turnOf } from '../../src/io/turn.ts';
import { EMPTY_CONTEXT } from '../../src/model/context.ts';

export async function runSource(catalog: Catalog, services: Services, type: string, options: JsonObject): Promise<StageOutcome> {
  const stage = catalog.get(type)!;
  return stage.run({
    context: EMPTY_CONTEXT,
    options: parseOptions(stage, options, 0),
    stage: { index: 0, type },
    run: { workflowId: 'w', runId: 'r', workspace: null },
    services,
    signal: new AbortController().signal,
    last: false,
    resume: undefined,
    heartbeat: () => undefined,
    turn: turnOf(slots(1), new AbortController().signal),
    recipe: async () => null,
  });
}

/** The error that it is refused with. */
export async function refused(run: Promise<unknown>): Promise<CheckpointError> {
  return run.then(
    () => {
      throw new Error('it should have been refused');
    },
    (error: unknown) => error as CheckpointError,
  );
}
