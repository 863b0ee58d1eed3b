/** What to do about a text where a number is wanted, if it is the text of one; empty for all else. */
export function numberHint(value: unknown): string {
  const isNumber = typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value));
  return isNumber ? ` Write it without quotes: \`${value.trim()}\`.` : '';
}
