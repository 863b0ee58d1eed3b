/** Files of slices, as torch's HuggingFaceStorageWriter(save_distributed=True) writes them. */

export interface Slice {
  readonly start?: readonly number[];
  readonly shape: readonly number[];
  readonly dtype?: string;
}

/** Name of a rank's file. */
export function shard(rank: number, part = 1, of = 1): string {
  const digits = (value: number): string => String(value).padStart(5, '0');
  return `shard-${digits(rank)}-model-${digits(part)}-of-${digits(of)}.safetensors`;
}

/** Bytes of a file; `info` in place of what the writer says of its slices. */
export function file(slices: Readonly<Record<string, Slice>>, info?: string): Buffer {
  let at = 0;
  const entries = Object.entries(slices).map(([name, { shape, dtype = 'U8' }]) => {
    const bytes = shape.reduce((product, size) => product * size, dtype === 'U8' ? 1 : 2);
    return [name, { dtype, shape, data_offsets: [at, (at += bytes)] }];
  });
  const told = Object.fromEntries(
    Object.entries(slices).map(([name, { start, shape }]) => [name, { saved_offsets: start ?? shape.map(() => 0) }]),
  );
  const metadata = { format: 'pt', DCP_VERSION: '1.0', DCP_SHARDING_INFO: info ?? JSON.stringify(told) };
  const header = Buffer.from(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(at, 7)]);
}
