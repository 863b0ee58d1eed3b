/** The number that a text is of, however it is written; null for all else. */
export function numberIn(value: unknown): number | null {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : NaN;
  return Number.isFinite(number) ? number : null;
}

/** What to do about a text where a number is wanted, if it is the text of one; empty for all else. */
export function numberHint(value: unknown): string {
  return numberIn(value) === null ? '' : ` Write it without quotes: \`${String(value).trim()}\`.`;
}
