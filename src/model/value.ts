/**
 * Python data as data: what a pickle describes, without any of it ever having been a live object.
 *
 * A tree is a flat table of nodes that refer to each other by index, so that shared and self-containing objects are plain
 * JSON, sizes are bounded by the table's length, and no walk needs recursion on the input's depth.
 */

/** Index into `ValueTree.nodes`. */
export type NodeId = number;

/** A name that a pickle refers to: the class or function `module.name`. Never imported. */
export interface GlobalName {
  readonly module: string;
  readonly name: string;
}

export type ValueNode =
  | null
  | boolean
  /** A Python int within ±(2^53 − 1). */
  | number
  /** A Python str (no lone surrogates). */
  | string
  /** A larger int, in decimal. */
  | { readonly kind: 'int'; readonly decimal: string }
  /** A float: a JSON number, or one of the four that JSON lacks. */
  | { readonly kind: 'float'; readonly value: number | 'nan' | 'inf' | '-inf' | '-0' }
  | { readonly kind: 'complex'; readonly real: NodeId; readonly imag: NodeId }
  | { readonly kind: 'bytes' | 'bytearray'; readonly base64: string }
  | { readonly kind: 'list' | 'tuple' | 'set' | 'frozenset'; readonly items: readonly NodeId[] }
  | {
      readonly kind: 'dict';
      readonly entries: readonly (readonly [key: NodeId, value: NodeId])[];
      /** Absent for a plain dict. */
      readonly class?: 'OrderedDict' | 'defaultdict' | 'Counter';
      /** Instance attributes, as `_metadata` of a module's state dict: a dict node. */
      readonly attributes?: NodeId;
    }
  /** Index into the header's `tensors`. */
  | {
      readonly kind: 'tensor';
      readonly tensor: number;
      /** Instance attributes, which are no part of its values: a dict node, or a tuple of one and one of slots. Absent: it has none. */
      readonly attributes?: NodeId;
    }
  /** Index into the header's `storages`: a bare storage that is not a tensor's. */
  | { readonly kind: 'storage'; readonly storage: number }
  /** A class or function as a value: named, never imported. */
  | ({ readonly kind: 'global' } & GlobalName)
  /** A value of a well-known small class in its plain form: `torch.Size`, `torch.dtype`, `datetime.datetime`, `pathlib.PosixPath` … */
  | { readonly kind: 'plain'; readonly class: string; readonly value: NodeId }
  /** An instance of a class that we know only by name, with what its pickle would have passed to it. */
  | ({
      readonly kind: 'object';
      /** Positional arguments: a tuple node. */
      readonly args?: NodeId;
      readonly kwargs?: NodeId;
      /** What BUILD would have handed to `__setstate__`. */
      readonly state?: NodeId;
      /** Items appended to it as to a list. */
      readonly items?: readonly NodeId[];
      /** Items set on it as on a dict. */
      readonly entries?: readonly (readonly [key: NodeId, value: NodeId])[];
    } & GlobalName);

export interface ValueTree {
  readonly root: NodeId;
  readonly nodes: readonly ValueNode[];
}

export type Verdict = 'safe' | 'unknown' | 'dangerous';

/** One global that a pickle names, judged. `position` is the byte offset of its opcode in the member's pickle. */
export interface GlobalUse extends GlobalName {
  readonly verdict: Verdict;
  readonly member: string;
  readonly position: number;
}
