/**
 * Whether the workers that poll a queue get the work of new runs: with worker versions, the server gives it to those of the current version only,
 * and a worker of any other version polls in vain.
 */
import { livePollsOf, routingOf, type Place, type Routing, type Version } from './visibility.ts';

/** Of a queue that is polled, though by nobody whom the server gives new runs to. */
export interface Passed {
  readonly queue: string;
  /** Of those that poll; null: without a version. */
  readonly polling: readonly (Version | null)[];
  readonly current: Version | null;
}

/** Null where somebody gets them, where nobody polls, or where the server does not tell. */
export async function passedOver(place: Place, queue: string): Promise<Passed | null> {
  const [polls, routing] = await Promise.all([livePollsOf(place, queue), routingOf(place, queue)]);
  return passedBy(
    queue,
    polls.map(({ version }) => version),
    routing,
  );
}

/** The same of those of one version, which the server may not have heard of yet. */
export function passedBy(queue: string, versions: readonly (Version | null)[], routing: Routing | null): Passed | null {
  if (routing === null || versions.length === 0) return null;
  const { current, ramping } = routing;
  if (versions.some((version) => isSame(version, current) || (ramping !== undefined && isSame(version, ramping)))) return null;
  const polling = versions.filter((version, index) => versions.findIndex((each) => isSame(each, version)) === index);
  return { queue, polling, current };
}

/** What is amiss, and what to do. */
export function passedWords({ queue, polling, current }: Passed): { readonly message: string; readonly advice: string } {
  const others = polling.map(nameOf).join(' and ');
  return {
    message: `those that poll \`${queue}\` are of ${others}, and the server gives new runs to workers of ${nameOf(current)} only`,
    advice: `Make that version current: ${polling.map((version) => `\`${commandFor(version, current)}\``).join(' or ')}; or start workers of the current one.`,
  };
}

function nameOf(version: Version | null): string {
  return version === null ? 'no version' : `version ${version.buildId} of ${version.deploymentName}`;
}

function commandFor(version: Version | null, current: Version | null): string {
  const command = 'temporal worker deployment set-current-version --yes --deployment-name';
  if (version !== null) return `${command} ${version.deploymentName} --build-id ${version.buildId}`;
  return `${command} ${current?.deploymentName ?? ''} --unversioned`;
}

function isSame(one: Version | null, other: Version | null): boolean {
  return one?.deploymentName === other?.deploymentName && one?.buildId === other?.buildId;
}
