/**
 * What a file says of itself without its tensor bytes.
 *
 * Invariant: a header is plain JSON, complete (everything the file holds is named in it), and checked (every tensor's bytes
 * lie inside a storage, every storage inside its file), so that later stages compute with it and never read a header again.
 */
import type { JsonObject } from '../errors.ts';
import type { PinnedFile } from './byte-source.ts';
import type { Dtype } from './dtype.ts';
import type { GlobalUse, ValueTree } from './value.ts';

export const FORMATS = ['lightning', 'pytorch', 'state_dict', 'safetensors'] as const;
/** What the content is, by the detection rules; how it is packed is the container. */
export type Format = (typeof FORMATS)[number];

const EXTENSIONS: Readonly<Record<string, Format>> = {
  ckpt: 'lightning',
  pt: 'pytorch',
  pth: 'pytorch',
  bin: 'pytorch',
  safetensors: 'safetensors',
};

/** What programs expect of a file by its name; undefined where the name says nothing. */
export function formatExpected(location: string): Format | undefined {
  const extension = /\.([a-z]+)$/i.exec(location)?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(EXTENSIONS, extension) ? EXTENSIONS[extension] : undefined;
}

/** The extension of a name that says something, and nothing of what is written here: `.onnx`; undefined of any other. */
export function foreignExtension(location: string): string | undefined {
  if (formatExpected(location) !== undefined) return undefined;
  return /[^/\\]\.[a-z][a-z0-9]*$/i.exec(location)?.[0].slice(1);
}

/** Those of names that say what to write. */
export const EXTENSIONS_WRITTEN = Object.keys(EXTENSIONS).map((extension) => `.${extension}`);

/** What to write under a name, where nobody says it. */
export function formatNamed(location: string): Format {
  return formatExpected(location) ?? 'safetensors';
}

export type Container = 'zip' | 'legacy' | 'torchscript' | 'safetensors' | 'sharded' | 'distributed';

/** A value of the state dict that is not a tensor. */
export interface NonTensor {
  readonly name: string;
  /** `a dict`, `an object of …`. */
  readonly is: string;
  /** Those that it holds, however deep; absent: none. */
  readonly tensors?: number;
  /** Why one of them has no plain dense form, where it might have been a weight. */
  readonly unsupported?: string;
}

/** What goes with the weights and is no value of the state dict, so that nothing published has a place for it. */
export interface Attribute {
  /** Where it is: `layer.weight.__dict__`, `layer.cache`. */
  readonly name: string;
  /** `attributes of a tensor: scale`, `a plain attribute`. */
  readonly is: string;
  /** Those that it holds, however deep; absent: none. */
  readonly tensors?: number;
}

/** Where the bytes of one storage lie in its file. */
export type StorageLocation =
  /**
   * `length` bytes from `offset`. `counted`: the file repeats the number of elements in 8 bytes at `at`, which are compared
   * before the data is believed, as a member's local header is.
   */
  | { readonly kind: 'range'; readonly offset: number; readonly counted?: { readonly at: number; readonly elements: number } }
  | ArchiveMember
  /** The contiguous bytes of the one tensor in an archive of `torch.save` inside the file, which is looked into when it is read. */
  | ({ readonly kind: 'archive'; readonly dtype: Dtype; readonly shape: readonly number[] } & EmbeddedArchive)
  /** The contiguous bytes of a tensor that is cut into blocks, which fill it without overlap; they may lie in several files. */
  | { readonly kind: 'blocks'; readonly dtype: Dtype; readonly shape: readonly number[]; readonly blocks: readonly Block[] };

/** A zip member, known from the central directory only: its local header is read and compared just before the data, where a reader passes it anyway. */
export interface ArchiveMember {
  readonly kind: 'member';
  readonly name: string;
  /** Offset of the local header. */
  readonly header: number;
  readonly method: 'stored' | 'deflated';
  /** Bytes in the file. */
  readonly stored: number;
  /** Uncompressed bytes. */
  readonly size: number;
  /** CRC-32 of the uncompressed bytes; 0 where the writer did not compute it, as torch when told not to. */
  readonly crc32: number;
  /** General purpose bit flag, which the local header must repeat. */
  readonly flags: number;
  /** Offset of what follows in the file, the next member or the directory: nothing of the member lies at or behind it. */
  readonly end: number;
}

/** `stored` bytes from `offset` of a file are a zip archive of their own. */
export interface EmbeddedArchive {
  readonly offset: number;
  readonly stored: number;
}

/** A box of a tensor, from the coordinates `start` on: an embedded archive, or the plain bytes. */
export interface Block extends EmbeddedArchive {
  /** Its contiguous bytes lie there as they are. */
  readonly isPlain?: true;
  /** Index into `files`. */
  readonly file: number;
  readonly start: readonly number[];
  readonly shape: readonly number[];
}

export interface Storage {
  /** Index into `files`; of blocks, the file of the first. */
  readonly file: number;
  readonly location: StorageLocation;
  /** Uncompressed length in bytes. */
  readonly length: number;
  /** Element order inside the file, where it is not little-endian. */
  readonly byteOrder?: 'big';
  /** The device it was saved from (`cuda:0`), where not `cpu`. */
  readonly device?: string;
}

/** A view of a storage. Shape and stride count elements; `offset` is in elements, too. */
export interface Tensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Index into `storages`. */
  readonly storage: number;
  readonly offset: number;
  /** Absent: contiguous, row-major. */
  readonly stride?: readonly number[];
  /** Lazy conjugation and negation, to be applied while reading. */
  readonly conjugate?: true;
  readonly negative?: true;
  readonly requiresGrad?: true;
  /** Saved as `nn.Parameter`. */
  readonly parameter?: true;
  /** Why its bytes have no plain dense form (`sparse_coo`, `quantized`, `meta` …); its other fields then describe nothing. */
  readonly unsupported?: string;
}

/** A tensor of the state dict under its name; the order is the file's. */
export interface Weight {
  readonly name: string;
  /** Index into `tensors`. */
  readonly tensor: number;
}

/** What the file says about training, as `inspect` shows it. */
export interface TrainingSummary {
  readonly epoch: number | null;
  readonly global_step: number | null;
  readonly has_optimizer: boolean;
  readonly has_scheduler: boolean;
  readonly has_callbacks: boolean;
  readonly has_loops: boolean;
  readonly has_hyper_parameters: boolean;
  /** Version of Lightning that wrote it, if any. */
  readonly lightning_version: string | null;
}

/** Of a container that holds tensors and nothing else. */
export const NO_TRAINING: TrainingSummary = {
  epoch: null,
  global_step: null,
  has_optimizer: false,
  has_scheduler: false,
  has_callbacks: false,
  has_loops: false,
  has_hyper_parameters: false,
  lightning_version: null,
};

/** Something worth saying about a file that is no reason to refuse it. */
export interface Finding {
  readonly code: string;
  readonly message: string;
  readonly member?: string;
}

/** Code of the finding that ranks wrote the files, and that nothing in them says whether all are there. */
export const RANKS_UNKNOWN = 'ranks_unknown';
/** Code of the finding that nothing in a scripted module says which of its tensors are buffers. */
export const BUFFERS_UNKNOWN = 'buffers_unknown';

/** A member beside the pickle, by its path in the archive's root folder. */
export type Attachment =
  /** `storage`: index into `storages`, its bytes. */
  | { readonly name: string; readonly storage: number }
  /** What a writer puts in place of its bytes, which name members by paths that are the source's own. */
  | { readonly name: string; readonly text: string };

export interface Header {
  readonly format: Format;
  readonly container: Container;
  readonly files: readonly PinnedFile[];
  readonly storages: readonly Storage[];
  /** Every tensor of the file, those of the optimizer included. */
  readonly tensors: readonly Tensor[];
  /** The state dict. */
  readonly weights: readonly Weight[];
  /** Entries of the state dict that are not tensors: name and what they are. */
  readonly nonTensors: readonly NonTensor[];
  /** Attributes of its tensors and of a scripted module, where there are any. */
  readonly attributes?: readonly Attribute[];
  /** Key under which the state dict lies, or the keys on the way to it with dots between them; null: it is the root. */
  readonly stateDictKey: string | null;
  /** The keys on the way, where there are several. */
  readonly stateDictPath?: readonly string[];
  readonly training: TrainingSummary;
  /** Everything that the file's pickle describes beside the weights; absent for a container that has none. */
  readonly tree?: ValueTree;
  /** String metadata of safetensors. */
  readonly metadata: Readonly<Record<string, string>>;
  /** JSON of an `anemoi-metadata` member. */
  readonly anemoiMetadata?: JsonObject;
  /** Members that a writer carries along: everything in the archive's `anemoi-metadata` folder. */
  readonly attachments?: readonly Attachment[];
  readonly globals: readonly GlobalUse[];
  readonly findings: readonly Finding[];
}

/** A storage whose files stand `by` places later, in a list that begins with those of another header. */
export function movedBehind(storage: Storage, by: number): Storage {
  const { location } = storage;
  const file = storage.file + by;
  if (location.kind !== 'blocks') return { ...storage, file };
  const blocks = location.blocks.map((block) => ({ ...block, file: block.file + by }));
  return { ...storage, file, location: { ...location, blocks } };
}

/** Storages, and the files they lie in. */
export type Stored = Pick<Header, 'files' | 'storages'>;

/** Those of both; the second's count from the first's length. */
export function appended(first: Stored, second: Stored): Stored {
  const moved = second.storages.map((storage) => movedBehind(storage, first.files.length));
  return { files: [...first.files, ...second.files], storages: [...first.storages, ...moved] };
}
