/** What a pickle cannot say itself, and who reads it does: its persistent ids, and calls of what only torch or numpy knows. */
import type { GlobalUse, NodeId, ValueNode } from '../../model/value.ts';

/** Its functions throw `PickleSyntaxError` or a checkpoint error for what they refuse. */
export interface PickleHost {
  readonly nodes: ValueNode[];
  readonly globals: GlobalUse[];
  /** The value of a persistent id (BINPERSID); absent: refused. */
  readonly persistent?: (id: NodeId, position: number) => ValueNode;
  /** A call of a safe global that the builtins do not know; `undefined`: it stays an opaque object. */
  readonly call?: (module: string, name: string, args: readonly NodeId[], position: number) => ValueNode | NodeId | undefined;
  /** The tensor that `persistent` and a call of `_rebuild_tensor_v2` make, asked for at once; refuses what they refuse, and says the same. */
  readonly tensor?: (tensor: DenseTensor) => ValueNode;
  /** What a value becomes that is given a state; `undefined`: the rules of objects and dicts hold. */
  readonly build?: (target: NodeId, state: NodeId, position: number) => ValueNode | undefined;
}

/** A dense tensor of no gradient over a storage. */
export interface DenseTensor {
  /** The class of the storage. */
  readonly type: NodeId;
  readonly key: string;
  readonly device: NodeId;
  readonly numel: number;
  readonly offset: number;
  /** These two are the caller's own. */
  readonly sizes: readonly number[];
  readonly stride: readonly number[];
  /** Where the storage's persistent id stands, and the call. */
  readonly persistentAt: number;
  readonly callAt: number;
}
