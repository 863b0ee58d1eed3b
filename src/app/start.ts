/** How runs are started, by whomever: the same summary, details, memo and search attributes for clients, schedules and Nexus. */
import { randomUUID } from 'node:crypto';
import { WorkflowExecutionAlreadyStartedError, type Client } from '@temporalio/client';
import type { SearchAttributePair } from '@temporalio/common';
import { CheckpointConfigError } from '../errors.ts';
import { refuseCredential } from '../io/locations/credentials.ts';
import { within } from '../model/text.ts';
import { attributePairs } from '../pipeline/attribute-pairs.ts';
import { checkBatch, checkBatchId } from '../pipeline/batch-document.ts';
import { BATCH_WORKFLOW, type BatchInput } from '../pipeline/batch.ts';
import { PIPELINE_WORKFLOW, type PipelineInput } from '../pipeline/contract.ts';
import { checkDocument } from '../pipeline/document.ts';
import { ATTRIBUTES_MEMO, startAttributes, type SearchAttributeName } from '../pipeline/search-attributes.ts';
import { startDetails } from '../pipeline/start-details.ts';
import { refuseRelative } from './relative.ts';
import { attributesNote, registeredAttributes, type Registered } from './temporal/search-attributes.ts';

/** What a client of ours works with. */
export interface Access {
  readonly client: Client;
  readonly taskQueue: string;
  /** Takes one line about what the server lacks. */
  readonly note: (line: string) => void;
  /** Aborted once the connection is ended: a call that waits would be tried again for a while. */
  readonly ended: AbortSignal;
}

/** A run by its id; without `runId` the latest one of that id. */
export type Run = string | { readonly workflowId: string; readonly runId?: string };

export interface StartedRun {
  readonly workflowId: string;
  readonly runId: string;
}

/** What is to run. */
export type Work = { readonly kind: 'pipeline'; readonly input: PipelineInput } | { readonly kind: 'batch'; readonly input: BatchInput };

/** Temporal refuses inputs from 2 MiB on, and the client would try again and again with one above 4 MiB. */
const MOST_BYTES = 1.5 * 1024 * 1024;

export interface StartOptions {
  readonly workflowType: string;
  readonly args: [PipelineInput | BatchInput];
  readonly staticSummary: string;
  readonly staticDetails: string;
  readonly memo: Record<string, unknown>;
  readonly typedSearchAttributes: SearchAttributePair[];
}

/** Throws `CheckpointConfigError` where the shape of the input is wrong; gives it back in the plain form. */
export function checkedWork({ kind, input }: Work): Work {
  return kind === 'pipeline' ? { kind, input: checkDocument(input) } : { kind, input: checkBatch(input) };
}

/** Throws `CheckpointConfigError` where the shape of the input is wrong, or it is too large. A batch is found by `workflowId`, where that is known. */
export function startOptions(given: Work, present: readonly SearchAttributeName[], workflowId?: string): StartOptions {
  const work = checkedWork(given);
  const { input } = work;
  refuseCredentials(work);
  const bytes = Buffer.byteLength(JSON.stringify(input));
  if (bytes > MOST_BYTES)
    throw new CheckpointConfigError(
      `The ${work.kind} has ${bytes} bytes as JSON; the limit is ${MOST_BYTES}. Put a long list of items into a manifest.`,
    );
  const pipeline = work.kind === 'pipeline' ? work.input : work.input.pipeline;
  const attributes =
    work.kind === 'pipeline'
      ? startAttributes(work.input)
      : { CheckpointStatus: 'running', ...(workflowId === undefined ? {} : { CheckpointBatch: workflowId }) };
  return {
    workflowType: work.kind === 'pipeline' ? PIPELINE_WORKFLOW : BATCH_WORKFLOW,
    args: [input],
    // Temporal takes 400 bytes.
    staticSummary: within(`${input.name ?? work.kind}: ${pipeline.stages.map(({ type }) => type).join(' → ')}`, 200),
    staticDetails: startDetails(pipeline),
    // The workflow must set no others.
    memo: { [ATTRIBUTES_MEMO]: present },
    typedSearchAttributes: attributePairs(attributes, present),
  };
}

/** Whoever starts it, and however: what is sent stays in the history. */
function refuseCredentials(work: Work): void {
  const pipeline = work.kind === 'pipeline' ? work.input : work.input.pipeline;
  const prefix = work.kind === 'pipeline' ? '' : 'pipeline.';
  for (const [index, stage] of pipeline.stages.entries())
    for (const [key, value] of Object.entries(stage)) refuseCredential(value, `${prefix}stages[${index}].${key}`);
  refuseCredential(pipeline.workspace, `${prefix}workspace`);
  if (work.kind === 'pipeline') return;
  const { items, results } = work.input;
  refuseCredential(results, 'results');
  for (const [key, item] of Object.entries(items)) {
    const path = Array.isArray(items) ? `items[${key}]` : `items.${key}`;
    if (typeof item !== 'object') refuseCredential(item, path);
    else for (const [column, value] of Object.entries(item)) refuseCredential(value, `${path}.${column}`);
  }
}

/** Search attributes that the server has; one that does not tell (Temporal Cloud has no such service) is taken for one without. */
export async function knownAttributes({
  connection,
  options,
}: Pick<Client, 'connection'> & { readonly options: { readonly namespace: string } }): Promise<Registered | null> {
  return registeredAttributes(connection, options.namespace).catch(() => null);
}

/** An id that no other run has: from the name of what runs. */
export function newId({ kind, input }: Work): string {
  // Who has no compiler may give nothing at all, which is refused with the whole.
  const { name } = (input as Work['input'] | null | undefined) ?? {};
  return `${name ?? kind}-${randomPart()}`;
}

/** Starts a run; a running one with that id is a `CheckpointConfigError`. */
export async function startRun({ client, taskQueue, note }: Access, given: Work, workflowId: string): Promise<StartedRun> {
  if (given.kind === 'batch') checkBatchId(workflowId);
  const work = checkedWork(given);
  const registered = await knownAttributes(client);
  const { workflowType, ...options } = startOptions(work, registered?.present ?? [], workflowId);
  refuseRelative(work);
  const lacking = registered === null ? null : attributesNote(registered);
  const handle = await client.workflow
    .start(workflowType, { ...options, workflowId, taskQueue, workflowIdConflictPolicy: 'FAIL' })
    .catch(async (error: unknown) => {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      const [what, command] = (await isBatch(client, workflowId, work)) ? ['batch', 'ckpt batch status'] : ['run', 'ckpt status'];
      throw new CheckpointConfigError(
        `A ${what} with the id ${workflowId} is going on. Look at it with \`${command} ${workflowId}\`, or start this one under another id (\`--id\`, in a program \`workflowId\`).`,
        undefined,
        { cause: error, details: { workflow_id: workflowId } },
      );
    });
  if (lacking !== null) note(lacking);
  return { workflowId, runId: handle.firstExecutionRunId };
}

/** Whether what has the id already is a batch; where nobody tells, it is taken for what was to be started. */
async function isBatch(client: Client, workflowId: string, { kind }: Work): Promise<boolean> {
  const there = await client.workflow
    .getHandle(workflowId)
    .describe()
    .catch(() => null);
  return there === null ? kind === 'batch' : there.type === BATCH_WORKFLOW;
}

/** `CheckpointConfigError` where it is none, as programs without a compiler may give. */
export function idOf(run: Run): string {
  const id: unknown = typeof run === 'string' ? run : (run as Partial<StartedRun> | null | undefined)?.workflowId;
  if (typeof id === 'string' && id !== '') return id;
  throw new CheckpointConfigError('A run is named by its workflow id, or by `{workflowId, runId}`, as `start` gives it.');
}

export function randomPart(): string {
  return randomUUID().slice(0, 8);
}
