/**
 * What stages hand on to each other through Temporal: small JSON, whatever the size of the model.
 *
 * Invariant: below `CONTEXT_LIMIT` bytes but for its outputs. Headers and plans lie in the workspace; the context refers to them.
 */
import type { Json } from '../errors.ts';
import type { PinnedFile } from './byte-source.ts';
import type { Container, Format } from './header.ts';

/** Bytes of JSON: what a context may weigh in Temporal's history (payloads are refused at 2 MiB; ours stay far below). */
export const CONTEXT_LIMIT = 16 * 1024;

/** A content-addressed blob of the workspace. */
export interface BlobReference {
  readonly uri: string;
  /** Of the content, in hex. */
  readonly sha256: string;
  readonly size: number;
}

/** One published file. */
export interface Output {
  readonly uri: string;
  readonly format: string;
  readonly size: number;
  /** Absent where the bytes never passed through us. */
  readonly sha256?: string;
  /** Bytes that the store copied itself, and those that passed through a worker; absent where all passed. */
  readonly copied_server_side?: number;
  readonly passed_through?: number;
  /** How many tensors it holds. */
  readonly tensors: number;
  readonly manifest: string;
  /** The report beside it, of a run with `report: true`. */
  readonly report?: string;
  /** True where an earlier run had published exactly this. */
  readonly unchanged: boolean;
}

export interface CheckpointContext {
  readonly source?: PinnedFile;
  readonly header?: BlobReference;
  readonly plan?: BlobReference;
  readonly target?: BlobReference;
  readonly format?: Format;
  readonly container?: Container;
  /** The run's record: `stage_{i}_{type}`, `source_type`, `epoch` … Later stages add and overwrite, none clears. */
  readonly metadata: { readonly [key: string]: Json };
  /** What would be published now: of the plan, for people. */
  readonly planned?: { readonly tensors: number; readonly bytes: number };
  /** A loader has put at least one tensor into the plan. */
  readonly weightsLoaded: boolean;
  readonly outputs: readonly Output[];
}

export const EMPTY_CONTEXT: CheckpointContext = { metadata: {}, weightsLoaded: false, outputs: [] };
