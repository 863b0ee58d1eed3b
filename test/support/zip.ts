/** Writes zip archives that may lie: every field of every record can be set against what is true. */
import { crc32, deflateRawSync } from 'node:zlib';

export interface Part {
  readonly name: string;
  readonly data: Uint8Array;
  readonly deflated?: boolean;
  /** Sets bit 3 and writes a data descriptor behind the data; the fields that lie. */
  readonly descriptor?: { readonly crc?: number; readonly size?: number; readonly bare?: boolean };
  /** In both headers. */
  readonly flags?: number;
  readonly crc?: number;
  /** Behind the deflate stream, counted as compressed bytes. */
  readonly junk?: Uint8Array;
  /** Behind the member, counted nowhere. */
  readonly gap?: Uint8Array;
  readonly local?: {
    readonly name?: Uint8Array;
    readonly flags?: number;
    readonly crc?: number;
    readonly size?: number;
    readonly compressed?: number;
    readonly extra?: Uint8Array;
    /** Length field of the extra, where it is not the extra's. */
    readonly extraLength?: number;
  };
  readonly central?: {
    readonly name?: Uint8Array;
    readonly size?: number;
    readonly compressed?: number;
    readonly header?: number;
    readonly extra?: Uint8Array;
    /** External attributes. */
    readonly attributes?: number;
  };
}

export interface Records {
  readonly comment?: Uint8Array;
  /** Fields of the end record. */
  readonly disk?: number;
  readonly directoryDisk?: number;
  readonly entries?: number;
  /** Writes a zip64 record and locator. */
  readonly zip64?: { readonly disk?: number; readonly directoryDisk?: number; readonly locatorDisk?: number; readonly disks?: number };
}

export function extra(id: number, ...values: readonly bigint[]): Buffer {
  const field = Buffer.alloc(4 + 8 * values.length);
  field.writeUInt16LE(id, 0);
  field.writeUInt16LE(8 * values.length, 2);
  values.forEach((value, index) => field.writeBigUInt64LE(value, 4 + 8 * index));
  return field;
}

export function zip(parts: readonly Part[], records: Records = {}): Buffer {
  const out: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let at = 0;
  const write = (bytes: Uint8Array): void => {
    out.push(bytes);
    at += bytes.length;
  };
  for (const part of parts) {
    const data = part.deflated === true ? Buffer.concat([deflateRawSync(part.data), part.junk ?? Buffer.alloc(0)]) : part.data;
    const sum = part.crc ?? crc32(part.data);
    const flags = (part.flags ?? 0x800) | (part.descriptor === undefined ? 0 : 8);
    const header = at;
    const own = part.local ?? {};
    const later = part.descriptor !== undefined;
    const localName = own.name ?? Buffer.from(part.name);
    const localExtra = own.extra ?? Buffer.alloc(0);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(20, 4);
    local.writeUInt16LE(own.flags ?? flags, 6);
    local.writeUInt16LE(part.deflated === true ? 8 : 0, 8);
    local.writeUInt32LE(own.crc ?? (later ? 0 : sum), 14);
    local.writeUInt32LE(own.compressed ?? (later ? 0 : data.length), 18);
    local.writeUInt32LE(own.size ?? (later ? 0 : part.data.length), 22);
    local.writeUInt16LE(localName.length, 26);
    local.writeUInt16LE(own.extraLength ?? localExtra.length, 28);
    for (const bytes of [local, localName, localExtra, data]) write(bytes);
    if (part.descriptor !== undefined) {
      const descriptor = Buffer.alloc(16);
      descriptor.writeUInt32LE(0x08074b50, 0);
      descriptor.writeUInt32LE(part.descriptor.crc ?? sum, 4);
      descriptor.writeUInt32LE(data.length, 8);
      descriptor.writeUInt32LE(part.descriptor.size ?? part.data.length, 12);
      write(part.descriptor.bare === true ? descriptor.subarray(4) : descriptor);
    }
    if (part.gap !== undefined) write(part.gap);
    const entry = Buffer.alloc(46);
    const lie = part.central ?? {};
    const name = lie.name ?? Buffer.from(part.name);
    const centralExtra = lie.extra ?? Buffer.alloc(0);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE(20, 4);
    entry.writeUInt16LE(20, 6);
    entry.writeUInt16LE(flags, 8);
    entry.writeUInt16LE(part.deflated === true ? 8 : 0, 10);
    entry.writeUInt32LE(sum, 16);
    entry.writeUInt32LE(lie.compressed ?? data.length, 20);
    entry.writeUInt32LE(lie.size ?? part.data.length, 24);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt16LE(centralExtra.length, 30);
    entry.writeUInt32LE(lie.attributes ?? 0, 38);
    entry.writeUInt32LE(lie.header ?? header, 42);
    central.push(entry, name, centralExtra);
  }
  const directory = Buffer.concat(central);
  const offset = at;
  write(directory);
  if (records.zip64 !== undefined) {
    const record = Buffer.alloc(56);
    record.writeUInt32LE(0x06064b50, 0);
    record.writeBigUInt64LE(44n, 4);
    record.writeUInt32LE(records.zip64.disk ?? 0, 16);
    record.writeUInt32LE(records.zip64.directoryDisk ?? 0, 20);
    record.writeBigUInt64LE(BigInt(parts.length), 24);
    record.writeBigUInt64LE(BigInt(parts.length), 32);
    record.writeBigUInt64LE(BigInt(directory.length), 40);
    record.writeBigUInt64LE(BigInt(offset), 48);
    const locator = Buffer.alloc(20);
    locator.writeUInt32LE(0x07064b50, 0);
    locator.writeUInt32LE(records.zip64.locatorDisk ?? 0, 4);
    locator.writeBigUInt64LE(BigInt(at), 8);
    locator.writeUInt32LE(records.zip64.disks ?? 1, 16);
    write(record);
    write(locator);
  }
  const comment = records.comment ?? Buffer.alloc(0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(records.disk ?? 0, 4);
  end.writeUInt16LE(records.directoryDisk ?? 0, 6);
  end.writeUInt16LE(records.entries ?? parts.length, 8);
  end.writeUInt16LE(records.entries ?? parts.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  end.writeUInt16LE(comment.length, 20);
  write(end);
  write(comment);
  return Buffer.concat(out);
}
