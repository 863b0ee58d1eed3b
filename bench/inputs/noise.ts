/** Random-like bytes, the same on every machine: no file system and no transport can make them smaller or skip them. */

/** Bytes of one block; callers write block after block. */
export const NOISE_BLOCK = 8 * 1024 * 1024;

/**
 * A function that fills its one block anew at every call: xorshift once, then XOR with a counter, which costs a pass over
 * memory instead of a generator step for each word.
 */
export function noise(seed: number): (length: number) => Uint8Array {
  const base = new Uint32Array(NOISE_BLOCK / 4);
  let state = seed | 1;
  for (let at = 0; at < base.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    base[at] = state;
  }
  const block = new Uint32Array(base.length);
  let counter = 0;
  return (length) => {
    const change = Math.imul(++counter, 0x9e3779b1);
    const words = Math.ceil(length / 4);
    for (let at = 0; at < words; at++) block[at] = base[at]! ^ change;
    return new Uint8Array(block.buffer, 0, length);
  };
}
