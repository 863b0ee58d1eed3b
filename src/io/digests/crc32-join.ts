/** The CRC-32 of two byte strings end to end, out of theirs: what was summed piece by piece needs not be read again as a whole. */

/** Bytes from which a join takes clearly less than to sum them once more: it takes some microseconds, however many they are. */
export const JOIN_FROM = 256 * 1024;

/** The polynomial of zip, with the coefficient of the highest power in the lowest bit. */
const POLYNOMIAL = 0xedb88320;
/** 1, and x to the power of the bits of a byte. */
const ONE = 0x80000000;
const BYTE = 0x00800000;

/** `length`: bytes of the second. */
export function joinCrc32(first: number, second: number, length: number): number {
  // The first stands before so many zero bytes: as a polynomial, it is multiplied by x for each of their bits.
  let shift = ONE;
  let power = BYTE;
  for (let rest = length; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) shift = times(shift, power);
    power = times(power, power);
  }
  return (times(first, shift) ^ second) >>> 0;
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
