/**
 * How an output is cut into the parts of a multipart upload, from its layout alone.
 *
 * Invariant: the parts cover the output in order, at most 10 000 of them, each of 5 MiB to 5 GiB but for the last, which may be smaller;
 * the same layout is always cut the same way, so that a retry knows the parts that are there.
 */
import type { Layout } from '../../formats/layout.ts';
import { blockLength, blocksOf } from '../copy/blocks.ts';

const MIB = 2 ** 20;
/** Limits of S3. */
export const PARTS_MOST = 10_000;
export const PART_LEAST = 5 * MIB;
/** A part that is sent, unless the output is so large that 10 000 of them would not hold it. */
export const PART = 8 * MIB;
/** A part that the store copies: several run at a time, and a store copies one at some hundred MB a second. */
const COPY_PART = 64 * MIB;

/** Bytes of a source that stand in the output as they are. */
export interface CopyRun {
  /** Index of the source among the plan's files. */
  readonly file: number;
  /** Index of the storage whose first byte `offset` counts from, as a zip member's own header alone tells where that is; null: the file's. */
  readonly member: number | null;
  readonly offset: number;
}

/** True where `next` goes on in the source `length` bytes behind the start of `run`. */
export function goesOn(run: CopyRun, length: number, next: CopyRun): boolean {
  return run.file === next.file && run.member === next.member && run.offset + length === next.offset;
}

/** The same run without its first bytes. */
function behind(run: CopyRun, bytes: number): CopyRun {
  return { ...run, offset: run.offset + bytes };
}

/** Consecutive bytes of the output. */
export interface Run {
  readonly length: number;
  /** Null: they must be made and sent. */
  readonly copy: CopyRun | null;
}

export interface PlannedPart {
  /** From 1. */
  readonly number: number;
  /** In the output. */
  readonly offset: number;
  readonly length: number;
  readonly copy: CopyRun | null;
}

/** Bytes of the parts of an output that are sent. */
function partLength(size: number): number {
  return Math.max(PART, Math.ceil(size / (PARTS_MOST - 1) / MIB) * MIB);
}

/** The parts of an output that is sent as a whole: the blocks in which it is moved. */
export interface SentParts {
  /** Bytes of the longest one. */
  readonly length: number;
  readonly parts: readonly PlannedPart[];
}

export function sentParts(layout: Layout): SentParts {
  const length = partLength(layout.size);
  const parts: PlannedPart[] = [];
  let offset = 0;
  for (const block of blocksOf(layout, length)) {
    const taken = blockLength(block);
    parts.push({ number: parts.length + 1, offset, length: taken, copy: null });
    offset += taken;
  }
  return { length, parts };
}

/** Cuts an output of these runs; the ones too small to be copied, or to stand between two copies, are gathered into sent parts. */
export function planParts(runs: readonly Run[]): readonly PlannedPart[] {
  const part = partLength(runs.reduce((sum, { length }) => sum + length, 0));
  // Fewer and fewer runs are worth copying where all of them would be too many parts.
  for (let least = PART_LEAST; ; least *= 2) {
    const parts = cut(gathered(runs, least), part);
    if (parts.length <= PARTS_MOST) return parts;
  }
}

function gathered(runs: readonly Run[], least: number): readonly Run[] {
  const joined: { length: number; copy: CopyRun | null }[] = [];
  for (const run of runs) {
    const last = joined.at(-1);
    const { copy } = run;
    const joins = last !== undefined && (last.copy === null || copy === null ? last.copy === copy : goesOn(last.copy, last.length, copy));
    if (joins) last.length += run.length;
    else if (run.length > 0) joined.push({ ...run });
  }
  const found: { length: number; copy: CopyRun | null }[] = [];
  const send = (length: number): void => {
    const last = found.at(-1);
    if (last !== undefined && last.copy === null) last.length += length;
    else found.push({ length, copy: null });
  };
  for (const { length, copy } of joined) {
    const last = found.at(-1);
    // What is sent before a copy must be large enough for a part of its own: it takes from the copy what it lacks.
    const lacks = last !== undefined && last.copy === null ? Math.max(0, PART_LEAST - last.length) : 0;
    if (copy === null || length - lacks < least) send(length);
    else {
      if (lacks > 0) send(lacks);
      found.push({ length: length - lacks, copy: behind(copy, lacks) });
    }
  }
  return found;
}

function cut(runs: readonly Run[], part: number): readonly PlannedPart[] {
  const parts: PlannedPart[] = [];
  let offset = 0;
  for (const { length, copy } of runs) {
    const wanted = Math.ceil(length / (copy === null ? part : Math.max(COPY_PART, part)));
    // Cut in equal parts, what is a little more than one of them would be less than two.
    const count = Math.min(wanted, Math.max(1, Math.floor(length / PART_LEAST)));
    const each = Math.ceil(length / count);
    for (let done = 0; done < length; done += each) {
      const taken = Math.min(each, length - done);
      parts.push({
        number: parts.length + 1,
        offset: offset + done,
        length: taken,
        copy: copy === null ? null : behind(copy, done),
      });
    }
    offset += length;
  }
  return parts;
}
