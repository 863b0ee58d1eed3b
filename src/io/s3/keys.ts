/** Credentials that a store refuses: perhaps they have been renewed where they come from since this process has read them. */
import { StoreFault } from '../store-fault.ts';

/** Milliseconds for which keys that were just asked for are not asked for again: a program or another service may give them. */
const RENEWED_FOR = 1000;

/** Credentials that were good once. */
export const EXPIRED = /^(ExpiredToken(Exception)?|TokenRefreshRequired|RequestExpired)$/;
/** Keys that the store does not know, or that do not go together; an answer to HEAD has no code. */
const WRONG = /^(InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken)$/;
const UNSAID = /^(Forbidden|403|Unknown|UnknownError)$/;

/** Other credentials may be taken where these were not. */
export function isOfKeys({ code, status }: StoreFault): boolean {
  return EXPIRED.test(code) || WRONG.test(code) || (status === 403 && UNSAID.test(code));
}

/** Asks once, and once more where the keys were not taken and others may be. */
export async function renewing<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof StoreFault) || !error.retryable || !isOfKeys(error)) throw error;
    return ask();
  }
}

/** The keys themselves are wrong: no permission mends that. */
export function areWrong({ code }: StoreFault): boolean {
  return WRONG.test(code);
}

interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface RenewedKeys {
  /** Grows whenever others were found. */
  readonly generation: () => number;
  /** Looks for others, once for all who ask at the time; where nobody gives any, those before stay. `known` to be over, they are asked for at once. */
  renew(known: boolean): Promise<void>;
}

/** `ask` gives the keys in use, or `again` those of now. */
export function renewedKeys(ask: (again: boolean) => Promise<Keys>): RenewedKeys {
  let generation = 0;
  let renewing: Promise<void> | null = null;
  let renewed = -Infinity;
  const renew = async (): Promise<void> => {
    const before = await ask(false).catch(() => null);
    const now = await ask(true).catch(() => before);
    renewed = performance.now();
    if (now !== null && textOf(now) !== (before === null ? null : textOf(before))) generation++;
  };
  return {
    generation: () => generation,
    renew: (known) => {
      if (renewing === null && !known && performance.now() - renewed < RENEWED_FOR) return Promise.resolve();
      return (renewing ??= renew().finally(() => (renewing = null)));
    },
  };
}

function textOf({ accessKeyId, secretAccessKey, sessionToken }: Keys): string {
  return JSON.stringify([accessKeyId, secretAccessKey, sessionToken ?? null]);
}
