/** The text of a value in pieces: strings, and columns that were written before. */

/** A text in UTF-8 with its digest in hexadecimal. */
export interface Part {
  readonly sha256: string;
  readonly text: Uint8Array;
}

/** A column that was written, with its text and the parts that it calls. */
export interface Column {
  readonly values: readonly unknown[];
  readonly depth: number;
  readonly text: Uint8Array;
  /** Where it is a part itself, else null. */
  readonly sha256: string | null;
  readonly parts: readonly Part[];
}

export type Piece = string | Column;

/** Each once. */
export function partsOf(pieces: readonly Piece[]): readonly Part[] {
  const parts = new Map<string, Part>();
  for (const piece of pieces) {
    if (typeof piece === 'string') continue;
    for (const part of piece.parts) parts.set(part.sha256, part);
    if (isPart(piece)) parts.set(piece.sha256, piece);
  }
  return [...parts.values()];
}

function isPart(piece: Column): piece is Column & Part {
  return piece.sha256 !== null;
}

/** Each piece by itself: joined, they would be there twice. */
export function encoded(pieces: readonly Piece[]): Uint8Array {
  const out = pieces.map((piece) => (typeof piece === 'string' ? piece : isPart(piece) ? `["#","${piece.sha256}"]` : piece.text));
  const bytes = Buffer.allocUnsafe(out.reduce((sum, each) => sum + Buffer.byteLength(each), 0));
  let at = 0;
  for (const each of out) {
    if (typeof each === 'string') at += bytes.write(each, at);
    else {
      bytes.set(each, at);
      at += each.length;
    }
  }
  return bytes;
}
