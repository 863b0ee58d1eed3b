/** A file to be written, before its first byte is: ordered segments of known length. */
import type { PlannedTensor } from '../model/plan.ts';

export type Segment =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** All bytes of a tensor: contiguous, row-major, little-endian. `index` into `Layout.tensors`. */
  | { readonly kind: 'tensor'; readonly index: number; readonly length: number }
  /** Bytes that depend on the tensors before them: what an archive says behind a member of the member's CRC-32. */
  | { readonly kind: 'late'; readonly length: number; readonly bytes: (crc32OfTensor: (index: number) => number) => Uint8Array };

export interface Layout {
  readonly format: string;
  /** Sum of the segments' lengths in bytes. */
  readonly size: number;
  readonly tensors: readonly PlannedTensor[];
  readonly segments: readonly Segment[];
}

/** Bytes of a segment. */
export function segmentLength(segment: Segment): number {
  return segment.kind === 'bytes' ? segment.bytes.length : segment.length;
}
