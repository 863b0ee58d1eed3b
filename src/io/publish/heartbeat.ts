/** What a publishing attempt reports, and the next one goes on from. */
import type { Overflows } from '../copy/copy.ts';

/** On a disk the partial file, in a store the upload. */
export interface ResumableProgress {
  /** Bytes that are done. */
  readonly offset: number;
  /** Of these bytes, on a disk. */
  readonly sha256?: string;
  /** Values among them beyond the range of the dtype they were cast to, on a disk. */
  readonly overflowed?: Overflows;
  /** Name of the partial file, on a disk. */
  readonly partial?: string;
  /** The multipart upload, in a store. */
  readonly upload_id?: string;
  /** Its parts that are done. */
  readonly parts?: number;
}
