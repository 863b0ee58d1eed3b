/** Containers that are named and refused, by their first bytes: what is inside is not looked at. */

export interface ForeignContainer {
  readonly is: string;
  /** What to do, where there is more to say than that it is no checkpoint. */
  readonly remedy?: string;
}

export const PAGE = 'an HTML or XML page';

const UNPACK = 'decompress it first';
const EXTRACT = 'extract it first';

const MAGICS: readonly (readonly [starts: string, is: string, remedy?: string])[] = [
  ['PK\x03\x04', 'a zip archive'],
  ['PK\x05\x06', 'an empty zip archive'],
  ['7z\xbc\xaf\x27\x1c', 'a 7-Zip archive', EXTRACT],
  ['\x1f\x8b', 'gzip-compressed', UNPACK],
  ['BZh', 'bzip2-compressed', UNPACK],
  ['\xfd7zXZ\0', 'xz-compressed', UNPACK],
  ['\x5d\x00\x00', 'lzma-compressed', UNPACK],
  ['\x28\xb5\x2f\xfd', 'zstd-compressed', UNPACK],
  ['\x04\x22\x4d\x18', 'lz4-compressed', UNPACK],
  ['Rar!\x1a\x07', 'a RAR archive', EXTRACT],
  ['\x93NUMPY', 'a NumPy array', 'save a dict of tensors, made by torch.from_numpy'],
  ['\x89HDF\r\n', 'an HDF5 file', 'it is not of the PyTorch family'],
  ['GGUF', 'a GGUF file', 'take the checkpoint that it was made from'],
  ['\x7fELF', 'a program'],
  ['MZ', 'a program'],
  ['version https://git-lfs', 'a Git LFS pointer', 'run `git lfs pull` to get the file itself'],
  ['<', PAGE, 'perhaps an error page that a download has saved; download it again'],
];
const TAR_MAGIC_AT = 257;
/** Where a header of tar holds the sum of its bytes, in octal digits that count as blanks for it: all that the oldest form is known by. */
const TAR_SUM = { start: 148, end: 156 };
const TAR_HEADER = 512;
const TAR: ForeignContainer = {
  is: 'a tar archive',
  remedy: 'perhaps a checkpoint of torch before 0.1.10; load and save it again with torch 0.4 to 2.5',
};

/** What the bytes are by their beginning (512 of them suffice); `undefined`: none of these. */
export function foreignContainer(bytes: Uint8Array): ForeignContainer | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(512, bytes.length)).toString('latin1');
  if (text.startsWith('ustar', TAR_MAGIC_AT) || hasTarSum(text)) return TAR;
  const found = MAGICS.find(([starts]) => text.startsWith(starts));
  if (found === undefined) return undefined;
  const [, is, remedy] = found;
  return { is, ...(remedy === undefined ? {} : { remedy }) };
}

function hasTarSum(header: string): boolean {
  const digits = /^ *([0-7]+)[ \0]/.exec(header.slice(TAR_SUM.start, TAR_SUM.end))?.[1];
  if (header.length < TAR_HEADER || digits === undefined) return false;
  const others = header.slice(0, TAR_SUM.start) + ' '.repeat(TAR_SUM.end - TAR_SUM.start) + header.slice(TAR_SUM.end);
  return Number.parseInt(digits, 8) === Array.from(others).reduce((sum, character) => sum + character.charCodeAt(0), 0);
}
