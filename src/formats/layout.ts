/** A file to be written, before its first byte is: ordered segments of known length. */
export type Segment =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** All bytes of a planned tensor: contiguous, row-major, little-endian. `index` into `plan.tensors`. */
  | { readonly kind: 'tensor'; readonly index: number; readonly length: number };

export interface Layout {
  readonly format: string;
  /** Sum of the segments' lengths in bytes. */
  readonly size: number;
  readonly segments: readonly Segment[];
}
