/** Names of our own metrics, beside those of Temporal's SDK. Workflow-safe. */
export const METRICS = {
  /** Runs that have ended, by `status`. */
  checkpoints: 'ckpt_checkpoints',
  /** Runs that have failed, by `code`. */
  failures: 'ckpt_failures',
  /** Bytes that transfers wrote to destinations, as they are written. */
  bytes: 'ckpt_transferred_bytes',
  /** Sizes of published outputs. */
  output: 'ckpt_output_bytes',
} as const;

/** Upper bounds of the buckets for sizes: 1 MiB to 1 TiB, in steps of four. */
export const BYTE_BUCKETS = Array.from({ length: 11 }, (_, step) => 4 ** (10 + step));
