/**
 * A pickle read into a table of nodes, and judged: no name is imported, nothing is called.
 *
 * Invariant: whatever is wrong with a pickle, every dangerous name that it holds is reported first.
 */
import { CheckpointLoadError, CheckpointValidationError } from '../../errors.ts';
import type { GlobalUse, NodeId } from '../../model/value.ts';
import { PICKLE_LIMITS, type PickleLimits } from '../limits-pickle.ts';
import { PickleLimitError, PickleSyntaxError } from './cursor.ts';
import { checkExpansion } from './expansion.ts';
import { isDangerousByModule, judge } from './globals.ts';
import type { PickleHost } from './host.ts';
import { runPickle } from './run.ts';
import { sweep } from './sweep.ts';

export interface PickleOptions {
  /** Names the pickle in messages and in `GlobalUse.member`. */
  readonly member: string;
  readonly uri: string;
  readonly host: PickleHost;
  readonly limits?: PickleLimits;
  /** Where the pickle starts; several follow one another in legacy files. */
  readonly start?: number;
  /** Whether bytes may follow STOP. */
  readonly more?: boolean;
}

/** Bytes before a break that are looked through once more: the opcode that broke, and the operands of one behind it. */
const BEFORE_BREAK = 512;

export interface PickleOutcome {
  /** Absent where the pickle broke. */
  readonly result?: { readonly root: NodeId; readonly consumed: number };
  /** Why it is refused, dangerous names apart. */
  readonly failure?: unknown;
}

/** Reads one pickle into `host.nodes` and judges nothing: every name that it holds is in `host.globals`, also where it breaks. */
export function tryPickle(bytes: Uint8Array, options: PickleOptions): PickleOutcome {
  const { host, member, limits = PICKLE_LIMITS, start = 0, more = false } = options;
  let result: { root: NodeId; consumed: number } | undefined;
  let failure: unknown;
  try {
    if (bytes.length - start > limits.bytes && !more)
      throw new PickleLimitError(`${bytes.length - start} bytes, at most ${limits.bytes} are read`, start);
    const root = runPickle({ bytes, start, host, member, limits });
    checkExpansion(host.nodes, root.id, limits, root.end);
    result = { root: root.id, consumed: root.end - start };
    if (root.end !== bytes.length && !more) {
      // A second pickle in disguise: its names belong into the report.
      failure = new PickleSyntaxError(`${bytes.length - root.end} bytes follow STOP`, root.end, true);
      runPickle({ bytes, start: root.end, host, member, limits });
    }
  } catch (error) {
    failure ??= error;
    if (error instanceof PickleSyntaxError) sweepRest(bytes, Math.max(start, error.position - BEFORE_BREAK), options, limits);
  }
  return { ...(result === undefined ? {} : { result }), ...(failure === undefined ? {} : { failure }) };
}

/**
 * Reads one pickle into `host.nodes`. Throws `CheckpointValidationError` with every dangerous global in `details.globals`, else
 * `CheckpointLoadError` for malformed bytes.
 */
export function readPickle(bytes: Uint8Array, options: PickleOptions): { readonly root: NodeId; readonly consumed: number } {
  const from = options.host.globals.length;
  const { result, failure } = tryPickle(bytes, options);
  refuseDangerous(options.uri, options.host.globals.slice(from));
  if (failure === undefined && result !== undefined) return result;
  throw failure instanceof PickleSyntaxError ? errorOf(failure, options) : failure;
}

/** What is said to who reads the checkpoint. */
function errorOf(failure: PickleSyntaxError, { uri, member }: PickleOptions): Error {
  const { message, position } = failure;
  const because = { cause: failure, details: { member, position } };
  if (failure instanceof PickleLimitError)
    return new CheckpointLoadError(
      `${uri}: the pickle ${member} is too large, at byte ${position}: ${message}. Save fewer tensors in one file, or as safetensors.`,
      uri,
      because,
    );
  const text = `${uri}: the pickle ${member} is malformed at byte ${position}: ${message}.`;
  if (failure.ambiguous)
    return new CheckpointValidationError(`${text} No pickle writer does this; do not load the file.`, [message], {
      cause: failure,
      details: { reason: 'unsafe', member, position, globals: [] },
    });
  return new CheckpointLoadError(`${text} Copy or save it again.`, uri, because);
}

/** A broken pickle may still be read by others: the names behind the break belong into the report. */
function sweepRest(bytes: Uint8Array, from: number, { host, member }: PickleOptions, limits: PickleLimits): void {
  const known = new Set(host.globals.filter((use) => use.member === member).map(({ position }) => position));
  for (const { module, name, position } of sweep(bytes, from, isDangerousByModule))
    if (!known.has(position) && host.globals.length < limits.globals)
      host.globals.push({ module, name, verdict: judge(module, name), member, position });
}

/** Throws one `CheckpointValidationError` that names every dangerous global among `globals`. */
export function refuseDangerous(uri: string, globals: readonly GlobalUse[]): void {
  const dangerous = globals.filter((use) => use.verdict === 'dangerous');
  if (dangerous.length === 0) return;
  const names = [...new Set(dangerous.map((use) => `${use.module}.${use.name}`))];
  const listed = dangerous
    .slice(0, 100)
    .map((use) => ({ module: use.module, name: use.name, verdict: use.verdict, member: use.member, position: use.position }));
  throw new CheckpointValidationError(
    `${uri} is unsafe: its pickle names ${names.slice(0, 20).join(', ')}, which could run code where the file is loaded. Nothing was executed here; do not load it elsewhere.`,
    names.slice(0, 100).map((name) => `dangerous global ${name}`),
    { details: { reason: 'unsafe', globals: listed } },
  );
}
