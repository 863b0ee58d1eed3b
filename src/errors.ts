/**
 * The one error taxonomy of the project.
 *
 * Invariant: `code` = class name = `ApplicationFailure.type`, `details` is plain JSON, and whether an error is worth
 * retrying is a property of the error, so that activities, workflows, clients and the CLI agree without asking each other.
 * Across a process boundary test `code`, never `instanceof`. Workflow-safe: no I/O, no Node API.
 */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

export const ERROR_CODES = [
  'CheckpointError',
  'CheckpointNotFoundError',
  'CheckpointLoadError',
  'CheckpointIncompatibleError',
  'CheckpointValidationError',
  'CheckpointConfigError',
  'CheckpointSourceError',
  'CheckpointTimeoutError',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/** Codes that no retry can mend: the worker marks them `nonRetryable`, retry policies list them. */
export const FINAL_CODES: readonly ErrorCode[] = [
  'CheckpointNotFoundError',
  'CheckpointLoadError',
  'CheckpointIncompatibleError',
  'CheckpointValidationError',
  'CheckpointConfigError',
];

export interface ErrorOptions {
  /** What raised it; kept as `cause`, its text goes into `details.original_error` where the class records it. */
  readonly cause?: unknown;
  /** Merged over the class's own details; the caller wins. */
  readonly details?: JsonObject;
  /** Overrides the class's rule, for instance a `CheckpointSourceError` with a final HTTP status. */
  readonly retryable?: boolean;
  /** Earliest sensible time of the next attempt in milliseconds (`Retry-After`). */
  readonly retryAfterMs?: number;
}

/** What stands before an `@`: in a URI's place; or a password, which may hold slashes and so reaches beyond it, where no port follows the `:`. */
const USER_INFO = /:\/\/(?:[^/?#]*@|[^/?#@[:"`]*:(?!\d*[/?#]).*@)/g;

/** A text as it may be shown: of what stands before the `@` in a URI's place, a user name and a password mostly, nothing is repeated. */
export function withoutUserInfo(text: string): string {
  return text.replace(/\S+/g, (word) => {
    // No further: what is sought ends in an `@`, and whatever begins like it is looked through once.
    const end = word.lastIndexOf('@') + 1;
    return word.slice(0, end).replace(USER_INFO, '://…@') + word.slice(end);
  });
}

/** Levels of details that are looked through; nobody is shown deeper ones. */
const DEEPEST_DETAILS = 50;

/** The same of every text in lists and mappings, however often one of them comes, and be it in itself. */
function shownDetails(details: JsonObject): JsonObject {
  const shown = new Map<object, object>();
  const show = (value: unknown, depth: number): unknown => {
    if (typeof value === 'string') return withoutUserInfo(value);
    if (typeof value !== 'object' || value === null || !isPlain(value)) return value;
    if (depth === DEEPEST_DETAILS) return '…';
    const known = shown.get(value);
    if (known !== undefined) return known;
    const copy: object = Array.isArray(value) ? [] : {};
    shown.set(value, copy);
    for (const key of Object.keys(value)) {
      const property = Object.getOwnPropertyDescriptor(value, key)!;
      Object.defineProperty(copy, key, 'value' in property ? { ...property, value: show(property.value, depth + 1) } : property);
    }
    return copy;
  };
  // The shape stays.
  return show(details, 0) as JsonObject;
}

/** What JSON is made of: others are told by words, if at all. */
function isPlain(value: object): boolean {
  return Array.isArray(value) || [Object.prototype, null].includes(Object.getPrototypeOf(value) as null);
}

/**
 * Base of every error that this project raises on purpose. Its message says what, where, expected against got, and what to do.
 *
 * Neither it nor the texts in `details` hold user information of a URI, whoever wrote that there.
 */
export class CheckpointError extends Error {
  readonly code: ErrorCode;
  readonly details: JsonObject;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, options: ErrorOptions = {}, code: ErrorCode = 'CheckpointError') {
    super(withoutUserInfo(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = code;
    this.code = code;
    this.details = shownDetails(options.details ?? {});
    this.retryable = options.retryable ?? !FINAL_CODES.includes(code);
    this.retryAfterMs = options.retryAfterMs;
  }

  toJSON(): ErrorReport {
    return { type: this.code, message: this.message, details: this.details };
  }
}

/** How an error looks in `--json` output, results and queries. */
export interface ErrorReport {
  readonly type: string;
  readonly message: string;
  readonly details: JsonObject;
}

/** A file, object or workflow that should be there is not. `path` is a path or URI as the user wrote it. */
export class CheckpointNotFoundError extends CheckpointError {
  constructor(message: string, path: string, options: ErrorOptions = {}) {
    super(message, { ...options, details: { path, ...options.details } }, 'CheckpointNotFoundError');
  }
}

/** A file is there but cannot be read as a checkpoint: corrupt, truncated, a directory, or nothing of it was ever loaded. */
export class CheckpointLoadError extends CheckpointError {
  constructor(message: string, path: string | null, options: ErrorOptions = {}) {
    super(message, { ...options, details: { path, ...causeDetails(options.cause), ...options.details } }, 'CheckpointLoadError');
  }
}

/** Names or shapes of the source and the target do not go together. */
export class CheckpointIncompatibleError extends CheckpointError {
  constructor(message: string, options: ErrorOptions = {}) {
    super(message, options, 'CheckpointIncompatibleError');
  }
}

/** The content breaks a rule: unsafe pickle, checksum mismatch, no state dict, NaN. `errors` has one line for each finding. */
export class CheckpointValidationError extends CheckpointError {
  constructor(message: string, errors: readonly string[] = [], options: ErrorOptions = {}) {
    const listed = errors.length === 0 ? {} : { validation_errors: errors, num_errors: errors.length };
    super(message, { ...options, details: { ...listed, ...options.details } }, 'CheckpointValidationError');
  }
}

/** The request is wrong: configuration, options, command line. `configPath` is like `stages[1].strict`. */
export class CheckpointConfigError extends CheckpointError {
  constructor(message: string, configPath?: string, options: ErrorOptions = {}) {
    const where = configPath === undefined ? {} : { config_path: configPath };
    super(message, { ...options, details: { ...where, ...options.details } }, 'CheckpointConfigError');
  }
}

/** Reading or writing storage failed in transport. Retried, unless the cause is known to be final. */
export class CheckpointSourceError extends CheckpointError {
  constructor(message: string, sourcePath: string, options: ErrorOptions = {}) {
    const original = options.cause === undefined ? {} : { original_error: textOf(options.cause) };
    super(message, { ...options, details: { source_path: sourcePath, ...original, ...options.details } }, 'CheckpointSourceError');
  }
}

/** `operation` made no progress for `timeoutSeconds`. */
export class CheckpointTimeoutError extends CheckpointError {
  constructor(message: string, operation: string, timeoutSeconds: number, options: ErrorOptions = {}) {
    super(message, { ...options, details: { operation, timeout_seconds: timeoutSeconds, ...options.details } }, 'CheckpointTimeoutError');
  }
}

const CLASSES: Readonly<Record<ErrorCode, { readonly prototype: CheckpointError }>> = {
  CheckpointError,
  CheckpointNotFoundError,
  CheckpointLoadError,
  CheckpointIncompatibleError,
  CheckpointValidationError,
  CheckpointConfigError,
  CheckpointSourceError,
  CheckpointTimeoutError,
};

function isCode(type: string): type is ErrorCode {
  return (ERROR_CODES as readonly string[]).includes(type);
}

/** The same under a code of ours: of another type, as the SDK or a plug-in's own failures have, that goes into `details`. */
export function codedReport(report: ErrorReport): ErrorReport {
  const { type, message, details } = report;
  return isCode(type) ? report : { type: 'CheckpointError', message, details: { error_type: type, ...details } };
}

/** A report from another process as an error of its class, with its details as they are; an unknown type becomes the base class. */
export function errorOf({ type, message, details }: ErrorReport, cause?: unknown): CheckpointError {
  const code = isCode(type) ? type : 'CheckpointError';
  const error = new CheckpointError(message, { details, ...(cause === undefined ? {} : { cause }) }, code);
  // Constructors would derive details anew from arguments that the report no longer has apart.
  return Object.setPrototypeOf(error, CLASSES[code].prototype) as CheckpointError;
}

/** True for our errors, also those of another copy of this module (a plug-in's, a test realm's). */
export function isCheckpointError(error: unknown): error is CheckpointError {
  return error instanceof Error && ERROR_CODES.includes((error as Partial<CheckpointError>).code as ErrorCode);
}

/** The report of any thrown value; an unknown one becomes a base `CheckpointError` that keeps its text and type. */
export function reportOf(error: unknown): ErrorReport {
  // A plug-in may have made one itself.
  if (isCheckpointError(error)) return { type: error.code, message: withoutUserInfo(error.message), details: shownDetails(error.details) };
  const reason = isOutOfMemory(error) ? OUT_OF_MEMORY : isOutOfFiles(error) ? OUT_OF_FILES : null;
  const message = reason === OUT_OF_FILES ? `${textOf(error)}. ${AS_MANY_FILES}` : textOf(error);
  return {
    type: 'CheckpointError',
    message: withoutUserInfo(message),
    details: { ...causeDetails(error), ...(reason === null ? {} : { reason }) },
  };
}

/** `details.reason` of an error that says more about the machine than about the stage: no `continue_on_error` goes on after it. */
export const OUT_OF_MEMORY = 'out_of_memory';
/** The same of a worker that was stopped on purpose in the middle of an attempt. */
export const WORKER_STOPPED = 'worker_stopped';

const OUT_OF_MEMORY_CODES = ['ENOMEM', 'ERR_MEMORY_ALLOCATION_FAILED', 'ERR_WORKER_OUT_OF_MEMORY'];

/** `details.reason` where the system opens no more files: the next attempt may find some closed. */
const OUT_OF_FILES = 'out_of_files';
const AS_MANY_FILES = 'As many files are open as may be: `ulimit -n` shows how many.';

/** Whether the system opens no more files for this process, or for any: that says nothing of the file. */
export function isOutOfFiles(error: unknown): boolean {
  return error instanceof Error && ['EMFILE', 'ENFILE'].includes(String((error as { readonly code?: unknown }).code));
}

function isOutOfMemory(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (
    OUT_OF_MEMORY_CODES.includes(String((error as { readonly code?: unknown }).code)) ||
    // What V8 says of a buffer that it could not get.
    (error instanceof RangeError && error.message === 'Array buffer allocation failed')
  );
}

export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function causeDetails(cause: unknown): JsonObject {
  if (cause === undefined) return {};
  return { original_error: withoutUserInfo(textOf(cause)), error_type: cause instanceof Error ? cause.name : typeof cause };
}
