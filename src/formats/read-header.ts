/**
 * Any checkpoint → its header. The container is told by the first bytes, never by the name.
 */
import { CheckpointLoadError } from '../errors.ts';
import type { ByteSource } from '../model/byte-source.ts';
import type { Header } from '../model/header.ts';
import { readSafetensors } from './safetensors/read.ts';
import { readTorchZip } from './torch/read-zip.ts';
import { readArchive } from './zip/archive.ts';

const SNIFF = 64;

/** First bytes of what people take for checkpoints, and what to say. */
const LOOK_ALIKES: readonly { readonly starts: string; readonly says: string }[] = [
  { starts: '\x1f\x8b', says: 'it is gzip-compressed: decompress it first' },
  { starts: 'BZh', says: 'it is bzip2-compressed: decompress it first' },
  { starts: '\xfd7zXZ', says: 'it is xz-compressed: decompress it first' },
  { starts: '7z\xbc\xaf', says: 'it is a 7-Zip archive: extract it first' },
  { starts: '\x28\xb5\x2f\xfd', says: 'it is zstd-compressed: decompress it first' },
  { starts: 'version https://git-lfs', says: 'it is a Git LFS pointer: run `git lfs pull` to get the file itself' },
  { starts: '<', says: 'it is an HTML or XML page, perhaps an error page saved by a download: download it again' },
  { starts: '\x89HDF', says: 'it is an HDF5 file, which is not of the PyTorch family' },
  { starts: 'PK\x05\x06', says: 'it is an empty zip archive' },
  {
    starts: '\x80',
    says: 'it is a bare pickle or a file of torch before 1.6, which this version does not read: load and save it again with torch 1.6 or newer',
  },
];

/** Throws `CheckpointLoadError` for what is no readable checkpoint, `CheckpointValidationError` for what is unsafe. */
export async function readHeader(source: ByteSource): Promise<Header> {
  if (source.size === 0)
    throw new CheckpointLoadError(`${source.uri} is empty: 0 bytes. Was the copy or download interrupted?`, source.uri);
  const start = Buffer.from(await source.read(0, Math.min(SNIFF, source.size)));
  if (start.subarray(0, 4).toString('latin1') === 'PK\x03\x04') return readTorchZip(source, await readArchive(source));
  const text = start.toString('latin1');
  const alike = LOOK_ALIKES.find(({ starts }) => text.startsWith(starts));
  // A safetensors file starts with the length of its header in 8 bytes, then "{".
  if (start[8] === 0x7b || (alike === undefined && source.uri.endsWith('.safetensors'))) return readSafetensors(source);
  const says = alike?.says ?? (isText(start) ? 'it is a text file' : `its first bytes are ${start.subarray(0, 8).toString('hex')}`);
  throw new CheckpointLoadError(`${source.uri} is no checkpoint: ${says}. Expected a torch zip archive or safetensors.`, source.uri, {
    details: { first_bytes: start.subarray(0, 16).toString('hex') },
  });
}

function isText(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 9 || byte === 10 || byte === 13 || (byte >= 32 && byte < 127));
}
