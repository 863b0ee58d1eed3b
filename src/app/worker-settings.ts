/** What `ckpt worker` is told, by options or else by variables, as values. A mistake is a `CheckpointConfigError` that names it. */
import { CheckpointConfigError } from '../errors.ts';
import { parseBytes, SIZE } from '../model/text.ts';
import { parseAddress, type Address } from './addresses.ts';
import { capacityOf, type Capacity } from './capacity.ts';
import { readEnvironment, type WorkerVariables } from './environment.ts';

export interface WorkerSettings {
  readonly capacity: Capacity;
  readonly health: Address | null;
  readonly metrics: Address | null;
  readonly version: { readonly deploymentName: string; readonly buildId: string } | null;
}

export type WorkerFlags = { readonly [Name in keyof WorkerVariables]?: string };

/** In the same order as the variables that stand in for them. */
const FLAGS: Readonly<Record<keyof WorkerVariables, readonly [flag: string, variable: string]>> = {
  transfers: ['--transfers', 'CKPT_TRANSFERS'],
  activities: ['--activities', 'CKPT_ACTIVITIES'],
  memory: ['--memory', 'CKPT_MEMORY'],
  healthPort: ['--health-port', 'CKPT_HEALTH_PORT'],
  metricsPort: ['--metrics-port', 'CKPT_METRICS_PORT'],
  deployment: ['--deployment', 'CKPT_DEPLOYMENT'],
  buildId: ['--build-id', 'CKPT_BUILD_ID'],
};

export function workerSettings(flags: WorkerFlags, variables: WorkerVariables = readEnvironment().worker): WorkerSettings {
  const said = (name: keyof WorkerVariables): { readonly text: string; readonly by: string } | null => {
    const [flag, variable] = FLAGS[name];
    const text = flags[name] ?? variables[name];
    return text === null ? null : { text, by: flags[name] === undefined ? variable : flag };
  };
  const count = (name: 'transfers' | 'activities'): number | null => {
    const given = said(name);
    if (given === null) return null;
    if (!/^\d{1,4}$/.test(given.text))
      throw new CheckpointConfigError(`${given.by} is \`${given.text}\`; expected a number from 0 to 9999.`);
    return Number(given.text);
  };
  const size = said('memory');
  if (size !== null && !SIZE.test(size.text))
    throw new CheckpointConfigError(`${size.by} is \`${size.text}\`; expected a size such as 2GiB or 800MB.`);
  const address = (name: 'healthPort' | 'metricsPort'): Address | null => {
    const given = said(name);
    return given === null ? null : parseAddress(given.text, given.by);
  };
  return {
    capacity: capacityOf({
      transfers: count('transfers'),
      activities: count('activities'),
      memory: size === null ? null : parseBytes(size.text),
    }),
    health: address('healthPort'),
    metrics: address('metricsPort'),
    version: versionOf(said('deployment')?.text, said('buildId')?.text),
  };
}

function versionOf(deploymentName: string | undefined, buildId: string | undefined): WorkerSettings['version'] {
  if (deploymentName === undefined && buildId === undefined) return null;
  if (deploymentName !== undefined && buildId !== undefined) return { deploymentName, buildId };
  throw new CheckpointConfigError('A worker deployment version has two parts: `--deployment` and `--build-id`; one of them is missing.');
}
