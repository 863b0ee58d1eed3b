/** Python integers of any size: a number within ±(2^53 − 1), else decimal text. */

/** Little-endian two's complement, as LONG1 and LONG4 hold it; no bytes are 0. */
export function decodeLong(bytes: Uint8Array): number | string {
  if (bytes.length === 0) return 0;
  let value = BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
  if (((bytes.at(-1) ?? 0) & 0x80) !== 0) value -= 1n << BigInt(bytes.length * 8);
  return fit(value);
}

/** Undefined for anything but an optional sign and digits, without zeros in front (in Python 3 they are an error). */
export function parseDecimal(text: string): number | string | undefined {
  return /^[+-]?(0{1,2500}|[1-9]\d{0,2499})$/.test(text) ? fit(BigInt(text.replace(/^\+/, ''))) : undefined;
}

function fit(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value.toString();
}

/** Shortest little-endian two's complement, as LONG1 wants it; 0 is not bytes. */
export function encodeLong(value: bigint): Uint8Array {
  if (value === 0n) return new Uint8Array();
  // For a negative number the magnitude is one less: -128 fits into a byte, 128 does not.
  const magnitude = (value < 0n ? -value - 1n : value).toString(2).length;
  const length = Math.floor(magnitude / 8) + 1;
  const hex = BigInt.asUintN(length * 8, value)
    .toString(16)
    .padStart(length * 2, '0');
  return new Uint8Array(Buffer.from(hex, 'hex').reverse());
}
