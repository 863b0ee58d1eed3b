/** The stores of this process, from its environment and its storage settings. */
import { join } from 'node:path';
import { createStorage, type Storage } from '../io/storage/storage.ts';
import { NO_SETTINGS, readStorageFile, type StorageSettings } from '../io/storage/settings.ts';
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
}

export async function configuredStorage({ file, inputs, environment = readEnvironment() }: StorageSetup): Promise<Storage> {
  const path = file ?? environment.storageFile;
  const settings = withEnvironment(path === null ? NO_SETTINGS : await readStorageFile(path), environment, inputs);
  return createStorage({ settings, cacheFolder: join(environment.cacheFolder, 'http') });
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
