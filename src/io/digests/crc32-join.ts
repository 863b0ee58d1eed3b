/** The CRC-32 of byte strings end to end, out of theirs: what was summed piece by piece needs not be read again as a whole. */

/** Bytes from which a join takes clearly less than to sum them once more: it takes some microseconds, however many they are. */
export const JOIN_FROM = 256 * 1024;

/** The polynomial of zip, with the coefficient of the highest power in the lowest bit. */
const POLYNOMIAL = 0xedb88320;
/** 1, and x to the power of the bits of a byte. */
const ONE = 0x80000000;
const BYTE = 0x00800000;

/** x to the power of the bits of 1, 2, 4 … bytes, as far as they were needed. */
const POWERS = [BYTE];

/** `length`: bytes of the second. */
export function joinCrc32(first: number, second: number, length: number): number {
  return (shiftCrc32(first, length) ^ second) >>> 0;
}

/**
 * What bytes with this CRC-32 bring to that of a whole in which `length` bytes stand behind them: the exclusive or of what all its pieces
 * bring is the sum of the whole.
 */
export function shiftCrc32(sum: number, length: number): number {
  // They stand before so many others: as a polynomial, it is multiplied by x for each of their bits.
  let shift = ONE;
  let bit = 0;
  for (let rest = length; rest > 0; rest = Math.floor(rest / 2)) {
    const power = (POWERS[bit] ??= times(POWERS[bit - 1]!, POWERS[bit - 1]!));
    if (rest % 2 === 1) shift = times(shift, power);
    bit++;
  }
  return times(sum, shift);
}

function times(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let bit = 31; bit >= 0; bit--) {
    if (((a >>> bit) & 1) === 1) product ^= shifted;
    shifted = (shifted & 1) === 1 ? (shifted >>> 1) ^ POLYNOMIAL : shifted >>> 1;
  }
  return product >>> 0;
}
