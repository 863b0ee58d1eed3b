/** Runs that began under an older version go on under this one: recorded histories replay with today's bundle. */
import { readdirSync, readFileSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from '@jest/globals';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { PROJECT_ROOT } from '../support/project.ts';
import { WORKFLOW_BUNDLE } from '../support/temporal.ts';

const FOLDER = join(PROJECT_ROOT, 'test', 'replay', 'histories');
const NAMES = readdirSync(FOLDER, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith('.json'))
  .sort();

interface History {
  readonly events: readonly {
    readonly eventType: string;
    readonly workflowExecutionStartedEventAttributes?: { readonly workflowId?: string };
  }[];
}

beforeAll(() => {
  Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { forward: {}, filter: 'ERROR' } } });
});

const read = (name: string): string => readFileSync(join(FOLDER, name), 'utf8');
const replay = (history: string, id: string): Promise<void> =>
  Worker.runReplayHistory({ workflowBundle: { codePath: WORKFLOW_BUNDLE } }, JSON.parse(history) as History, id);

test.each(NAMES)('%s', async (name) => {
  const { events } = JSON.parse(read(name)) as History;
  // Ids of children are made from it.
  await replay(read(name), events[0]?.workflowExecutionStartedEventAttributes?.workflowId ?? name.replace(/^.*\/|\.json$/g, ''));
});

test.each([
  ['completed', 'EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED'],
  ['unchanged', 'EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED'],
  ['reported', 'EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED'],
  ['failed', 'EVENT_TYPE_WORKFLOW_EXECUTION_FAILED'],
  ['continued', 'EVENT_TYPE_WORKFLOW_EXECUTION_FAILED'],
  ['refused', 'EVENT_TYPE_WORKFLOW_EXECUTION_FAILED'],
  ['retried', 'EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED'],
  ['waited', 'EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED'],
  ['skipped', 'EVENT_TYPE_WORKFLOW_EXECUTION_FAILED'],
  ['cancelled', 'EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED'],
  ['batch-continued', 'EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW'],
  ['batch-completed', 'EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED'],
  ['batch-failed', 'EVENT_TYPE_WORKFLOW_EXECUTION_FAILED'],
  ['batch-cancelled', 'EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED'],
])('of each version there is a run that was %s', (name, last) => {
  for (const version of readdirSync(FOLDER)) {
    const { events } = JSON.parse(read(`${version}/${name}.json`)) as History;
    expect(events.at(-1)!.eventType).toBe(last);
  }
});

interface Pipeline {
  stages: { type?: string; uri?: string }[];
}

/** Of a run, or of a batch. */
type Input = Pipeline & { readonly pipeline: Pipeline };

/** A history whose input has been changed. */
function given(name: string, change: (input: Input) => void): string {
  const history = JSON.parse(read(name)) as {
    events: { workflowExecutionStartedEventAttributes: { input: { payloads: { data: string }[] } } }[];
  };
  const [payload] = history.events[0]!.workflowExecutionStartedEventAttributes.input.payloads;
  const input = JSON.parse(Buffer.from(payload!.data, 'base64').toString('utf8')) as Input;
  change(input);
  payload!.data = Buffer.from(JSON.stringify(input)).toString('base64');
  return JSON.stringify(history);
}

test.each(['batch-completed', 'batch-continued'])(
  'a batch with a value that no `}` closes, begun before that was refused, goes on: %s',
  async (name) => {
    const { events } = JSON.parse(read(`0.1.0/${name}.json`)) as History;
    const history = given(`0.1.0/${name}.json`, ({ pipeline }) => void (pipeline.stages.at(-1)!.uri += '${item.stem'));
    await replay(history, events[0]!.workflowExecutionStartedEventAttributes!.workflowId!);
  },
);

test('a run that went on behind a stage whose worker was stopped, before that ended runs, goes on', async () => {
  const stages = ['source.local', 'source.local', 'loader.weights_only'];
  const encoded = (needs: unknown): string =>
    Buffer.from(JSON.stringify({ problems: [], warnings: [], needs, queues: [null, null, null] })).toString('base64');
  const history = JSON.parse(
    given('0.1.0/completed.json', (pipeline) => {
      pipeline.stages = stages.map((type, index) => ({ type, path: '/a.pt', ...(index === 0 ? { on_error: 'continue' } : {}) }));
    }).replace(encoded([[], ['checkpoint_data'], ['model']]), encoded([[], [], ['checkpoint_data']])),
  ) as { events: Record<string, unknown>[] };
  const scheduled = history.events.filter(({ eventType }) => eventType === 'EVENT_TYPE_ACTIVITY_TASK_SCHEDULED');
  for (const [index, { activityTaskScheduledEventAttributes: attributes }] of scheduled.entries())
    Object.assign(attributes as object, { activityType: { name: stages[index] } });
  const first = history.events.findIndex(({ eventType }) => eventType === 'EVENT_TYPE_ACTIVITY_TASK_COMPLETED');
  const { activityTaskCompletedEventAttributes: completed, ...event } = history.events[first]!;
  const { result: _result, ...attributes } = completed as Record<string, unknown>;
  const failure = { message: 'm', applicationFailureInfo: { type: 'WorkerShutdown' } };
  history.events[first] = {
    ...event,
    eventType: 'EVENT_TYPE_ACTIVITY_TASK_FAILED',
    activityTaskFailedEventAttributes: { ...attributes, failure, retryState: 'RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED' },
  };
  await replay(JSON.stringify(history), 'completed');
});

test('a history of another workflow does not replay, so that the tests above can fail', async () => {
  const other = read('0.1.0/completed.json').replaceAll('"name": "loader.weights_only"', '"name": "loader.other"');
  await expect(replay(other, 'completed')).rejects.toThrow(DeterminismViolationError);
});

test('nothing of the machine that recorded them is in the histories', () => {
  for (const name of NAMES) {
    const text = read(name);
    const payloads = [...text.matchAll(/"data": "([A-Za-z0-9+/=]+)"/g)].map(([, data]) => Buffer.from(data!, 'base64').toString('utf8'));
    expect(payloads.length).toBeGreaterThan(0);
    const paths = [text, ...payloads].flatMap(
      (part) => part.match(/(?<![\w.@)])\/(tmp|home|root|work|usr|Users|var|opt|mnt)\/[^\s"'),]*/g) ?? [],
    );
    expect(paths.filter((path) => !path.startsWith('/tmp/ckpt-history'))).toEqual([]);
    for (const word of [hostname(), homedir()]) expect([text, ...payloads].filter((part) => part.includes(word))).toEqual([]);
    const identities = [...text.matchAll(/"identity": "([^"]*)"/g)].map(([, identity]) => identity);
    expect([...new Set(identities)].sort()).toEqual(expect.arrayContaining(['worker@history']));
    expect(identities.filter((identity) => !/^(client|worker)@history$|^history-service$/.test(identity!))).toEqual([]);
  }
});
