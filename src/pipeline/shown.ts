/** What a document says, as an error shows it. */
import { withoutUserInfo, type Json } from '../errors.ts';

/** The first 200 characters of a stage's configuration, without what a URL may carry of credentials. */
export function shown(given: unknown): string {
  const text = JSON.stringify(given as Json) ?? String(given);
  return withoutUserInfo(text).slice(0, 200);
}
