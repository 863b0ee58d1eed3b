/** Where the project and its fixtures lie, whichever folder the compiled test runs from. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}

export const PROJECT_ROOT = findRoot();
export const FIXTURES = join(PROJECT_ROOT, 'test', 'fixtures', 'files');

export interface ExpectedTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
  readonly unsupported?: string;
}

export interface ExpectedGood {
  readonly format: string;
  readonly container: string;
  readonly epoch: number | null;
  readonly global_step: number | null;
  readonly has_optimizer: boolean;
  readonly has_scheduler: boolean;
  readonly state_dict_key: string | null;
  readonly tensors: Readonly<Record<string, ExpectedTensor>>;
  readonly globals?: readonly string[];
  readonly shared?: readonly (readonly string[])[];
  readonly values?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly zip_metadata?: unknown;
  readonly may_refuse?: boolean;
  readonly shards?: readonly string[];
  readonly note?: string;
}

export interface ExpectedBad {
  readonly verdict: 'unsafe' | 'corrupt';
  readonly why: string;
  readonly also_ok?: readonly string[];
  readonly globals?: readonly string[];
}

export interface Expected {
  readonly good: Readonly<Record<string, ExpectedGood>>;
  readonly bad: Readonly<Record<string, ExpectedBad>>;
}

export const EXPECTED = JSON.parse(readFileSync(join(FIXTURES, 'expected.json'), 'utf8')) as Expected;

export function fixture(path: string): string {
  return join(FIXTURES, path);
}

/** Absolute path of a compiled module: `src/app/cli/main.js`. */
export function compiled(path: string): string {
  return join(PROJECT_ROOT, 'dist', path);
}
