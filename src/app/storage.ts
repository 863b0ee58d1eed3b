/** The stores of this process, from its environment and its storage settings. */
import { join } from 'node:path';
import { createStorage, type Storage } from '../io/storage/storage.ts';
import { NO_SETTINGS, type StorageSettings } from '../io/storage/settings.ts';
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
