/**
 * What a scan has found so far, and what that makes of the file.
 *
 * Invariant: a verdict only ever gets worse; `safe` means that every byte which any loader could take for a pickle was read to its
 * end, and named nothing but what is on the table.
 */
import { isCheckpointError, type CheckpointError } from '../../errors.ts';
import type { Finding } from '../../model/header.ts';
import type { GlobalUse } from '../../model/value.ts';

const VERDICTS = ['safe', 'unknown', 'unread', 'corrupt', 'dangerous'] as const;
/** From best to worst. */
export type FileVerdict = (typeof VERDICTS)[number];

export interface Tally {
  readonly uri: string;
  readonly globals: GlobalUse[];
  readonly findings: readonly Finding[];
  readonly verdict: () => FileVerdict;
  readonly addGlobals: (globals: readonly GlobalUse[]) => void;
  /** Worth a line; harmless. */
  readonly note: (code: string, message: string, member?: string) => void;
  /** What may be harmless, but was not made sure of: at best `unknown`. */
  readonly doubt: (code: string, message: string, member?: string) => void;
  /** What its store did not give: at best `unread`, and worth another try. */
  readonly unread: (code: string, message: string, member?: string) => void;
  /** What no sound file has, or what is not opened here: at best `corrupt`. */
  readonly broken: (code: string, message: string, member?: string) => void;
}

/** Lines kept for one file; more of them say nothing more. */
const FINDINGS_MAX = 1_000;
const GLOBALS_MAX = 100_000;

export function newTally(uri: string): Tally {
  const globals: GlobalUse[] = [];
  const findings: Finding[] = [];
  let worst: FileVerdict = 'safe';
  const raise = (to: FileVerdict): void => {
    if (VERDICTS.indexOf(to) > VERDICTS.indexOf(worst)) worst = to;
  };
  const add =
    (level: FileVerdict) =>
    (code: string, message: string, member?: string): void => {
      raise(level);
      if (findings.length < FINDINGS_MAX) findings.push({ code, message, ...(member === undefined ? {} : { member }) });
    };
  return {
    uri,
    globals,
    findings,
    verdict: () => {
      for (const { verdict } of globals) if (verdict !== 'safe') raise(verdict);
      return worst;
    },
    addGlobals: (more) => {
      for (const use of more) {
        if (globals.length < GLOBALS_MAX) globals.push(use);
        raise(use.verdict);
      }
    },
    note: add('safe'),
    doubt: add('unknown'),
    unread: add('unread'),
    broken: add('corrupt'),
  };
}

/** Whether an error says something of the file's content, and nothing of the store that gives it. */
export function isOfContent(error: unknown): error is CheckpointError {
  return isCheckpointError(error) && !isOfStore(error);
}

/** Takes an error into the account; what is none of ours is thrown on. */
export function take(tally: Tally, error: unknown, code: string, member?: string): void {
  if (!isCheckpointError(error)) throw error;
  (isOfStore(error) ? tally.unread : tally.broken)(code, error.message, member);
}

function isOfStore({ code }: CheckpointError): boolean {
  return code === 'CheckpointSourceError' || code === 'CheckpointTimeoutError';
}
