/** What `ckpt doctor` finds: one line each, and what to do where something is amiss. */

/** `note`: neither good nor bad; `warning`: works, and should be looked at; `problem`: something will not work. */
export type FindingStatus = 'ok' | 'note' | 'warning' | 'problem';

export interface Finding {
  /** What was looked at: `node`, `server`, `clock` … */
  readonly check: string;
  readonly status: FindingStatus;
  readonly message: string;
  /** What to do; null where there is nothing. */
  readonly advice: string | null;
}

export function fine(check: string, message: string): Finding {
  return { check, status: 'ok', message, advice: null };
}

export function remark(check: string, message: string, advice: string | null = null): Finding {
  return { check, status: 'note', message, advice };
}

export function warning(check: string, message: string, advice: string): Finding {
  return { check, status: 'warning', message, advice };
}

export function problem(check: string, message: string, advice: string): Finding {
  return { check, status: 'problem', message, advice };
}
