/** The stores of this process, from its environment and its storage settings. */
import { access, constants } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { CheckpointConfigError, textOf } from '../errors.ts';
import { refuseCredential } from '../io/locations/credentials.ts';
import { makeFolder } from '../io/local/folders.ts';
import { localPath } from '../io/local/local-file.ts';
import { isS3, parseS3Prefix } from '../io/s3/location.ts';
import { NO_SETTINGS, type StorageSettings } from '../io/storage/settings.ts';
import { createStorage, type Storage } from '../io/storage/storage.ts';
import { ended } from '../model/text.ts';
import { readEnvironment, type Environment } from './environment.ts';

export interface StorageSetup {
  /** `--storage`; else `CKPT_STORAGE`. */
  readonly file?: string | undefined;
  /**
   * Whose inputs this process runs: those of the user who started it, or those of anybody who may start a pipeline. For the latter HTTP
   * to private networks is shut unless it is opened.
   */
  readonly inputs: 'own' | 'anybody';
  readonly environment?: Environment;
  /** Bytes of parts on their way to stores; default: as `createStorage` has it. */
  readonly uploads?: number;
}

export async function configuredStorage({ file, inputs, environment = readEnvironment(), uploads }: StorageSetup): Promise<Storage> {
  const path = file ?? environment.storageFile;
  const settings = withEnvironment(path === null ? NO_SETTINGS : await readFileSettings(path), environment, inputs);
  return createStorage({ settings, cacheFolder: join(environment.cacheFolder, 'http'), ...(uploads === undefined ? {} : { uploads }) });
}

async function readFileSettings(path: string): Promise<StorageSettings> {
  const { readStorageFile } = await import('../io/storage/settings-file.ts');
  return readStorageFile(path);
}

/** For a worker: places that none of its runs could do with are a `CheckpointConfigError` before it takes work. */
export async function workerStorage(setup: StorageSetup): Promise<Storage> {
  const { environment = readEnvironment() } = setup;
  const storage = await configuredStorage({ ...setup, environment });
  try {
    checkRoots(storage.settings.allow.roots ?? []);
    await checkWorkspace(environment.workspace);
    return storage;
  } catch (error) {
    storage.close();
    throw error;
  }
}

/** A relative one would fence off another folder wherever the worker is started. */
function checkRoots(roots: readonly string[]): void {
  const relative = roots.find((root) => !isAbsolute(root));
  if (relative === undefined) return;
  throw new CheckpointConfigError(
    `The allowed folder \`${relative}\` is relative; expected absolute paths in CKPT_ALLOWED_ROOTS, or in \`allow.roots\` of the storage settings.`,
    'allow.roots',
  );
}

async function checkWorkspace(workspace: string): Promise<void> {
  // It stands in what the stages of a run hand each other, which stays in the history.
  refuseCredential(workspace, 'CKPT_WORKSPACE');
  try {
    // A store may be away now and back when a run needs it: that is for the run to see.
    if (isS3(workspace)) return void parseS3Prefix(workspace);
    const folder = localPath(workspace);
    await makeFolder(folder);
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new CheckpointConfigError(
      `The workspace ${workspace} cannot be used: ${ended(textOf(cause))} Set CKPT_WORKSPACE to a folder that all workers can write, or to s3://bucket/prefix.`,
      undefined,
      { cause, details: { workspace } },
    );
  }
}

/** Without a fence: for what this process's owner has set up, as its workspace. */
export async function ownStorage(): Promise<Storage> {
  return unfenced(await configuredStorage({ inputs: 'own' }));
}

/** The same stores, all of them. */
export function unfenced({ settings, policy }: Storage): Storage {
  return createStorage({ settings: { ...settings, allow: {} }, policy });
}

/** A variable that is set replaces what the file says. */
function withEnvironment(settings: StorageSettings, environment: Environment, inputs: StorageSetup['inputs']): StorageSettings {
  const { allowedRoots, allowedBuckets, allowPrivateAddresses } = environment;
  return {
    ...settings,
    allow: {
      ...settings.allow,
      ...(allowedRoots === null ? {} : { roots: [...allowedRoots] }),
      ...(allowedBuckets === null ? {} : { buckets: [...allowedBuckets] }),
      private_addresses: allowPrivateAddresses ?? settings.allow.private_addresses ?? inputs === 'own',
    },
  };
}
