/** Containers that are named and refused, by their first bytes: what is inside was not looked at. */
const MAGICS: readonly (readonly [starts: string, is: string])[] = [
  ['PK\x03\x04', 'a zip archive'],
  ['PK\x05\x06', 'an empty zip archive'],
  ['7z\xbc\xaf\x27\x1c', 'a 7-Zip archive'],
  ['\x1f\x8b', 'gzip-compressed'],
  ['BZh', 'bzip2-compressed'],
  ['\xfd7zXZ\0', 'xz-compressed'],
  ['\x5d\x00\x00', 'lzma-compressed'],
  ['\x28\xb5\x2f\xfd', 'zstd-compressed'],
  ['\x04\x22\x4d\x18', 'lz4-compressed'],
  ['Rar!\x1a\x07', 'a RAR archive'],
  ['\x93NUMPY', 'a NumPy array'],
  ['\x89HDF\r\n', 'an HDF5 file'],
  ['GGUF', 'a GGUF file'],
  ['\x7fELF', 'a program'],
  ['MZ', 'a program'],
  ['version https://git-lfs', 'a Git LFS pointer'],
  ['<', 'an HTML or XML page'],
];
const TAR_MAGIC_AT = 257;

/** What the bytes are by their beginning (512 of them suffice); `undefined`: none of these. */
export function containerOf(bytes: Uint8Array): string | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(512, bytes.length)).toString('latin1');
  if (text.startsWith('ustar', TAR_MAGIC_AT)) return 'a tar archive';
  return MAGICS.find(([starts]) => text.startsWith(starts))?.[1];
}
