/** Colours of dtypes: each bears white text; the legend and every cell name the dtype, too. */

const COLOURS: readonly (readonly [RegExp, string])[] = [
  [/^F64$/, '#1d3f72'],
  [/^F32$/, '#2f6fb7'],
  [/^BF16$/, '#b35600'],
  [/^F16$/, '#0b7a70'],
  [/^F8/, '#8a4fbf'],
  [/^F[46]/, '#b03a8c'],
  [/^[IU]64$/, '#3f6b16'],
  [/^[IU]\d/, '#75671c'],
  [/^B?C\d/, '#a8323a'],
];
const OTHER = '#66696e';

export function dtypeColour(dtype: string): string {
  return COLOURS.find(([pattern]) => pattern.test(dtype))?.[1] ?? OTHER;
}
