/**
 * Four-bit floats under both of their names: safetensors counts them (`F4`), torch counts the bytes that hold two of them (`F4_X2`,
 * its `float4_e2m1fn_x2`). The bytes are the same, so a file of either kind can be written of both.
 */
import type { Dtype } from './dtype.ts';
import type { Tensor } from './header.ts';
import type { Plan, PlannedTensor } from './plan.ts';

type Float4 = 'F4' | 'F4_X2';

/** Elements of this name for each of the other. */
const RATIO = { F4: 2, F4_X2: 1 / 2 } as const;

/** A four-bit tensor under the name that `dtype` is of them; as it is where it has no such form, or either is not a four-bit float. */
export function float4As(tensor: Tensor, dtype: Dtype): Tensor {
  if (dtype !== 'F4' && dtype !== 'F4_X2') return tensor;
  const { shape, offset, stride } = tensor;
  const ratio = RATIO[dtype];
  const last = shape.at(-1);
  // Rows that do not follow each other, and a scalar, have no form of the other kind.
  if (tensor.dtype !== otherOf(dtype) || last === undefined || stride !== undefined) return tensor;
  if (!Number.isInteger(last * ratio) || !Number.isInteger(offset * ratio)) return tensor;
  return { ...tensor, dtype, shape: [...shape.slice(0, -1), last * ratio], offset: offset * ratio };
}

/** The plan with its four-bit tensors, those of a training state too, under the name given where they have such a form. */
export function withFloat4As(plan: Plan, dtype: Float4): Plan {
  const { tensors, stateTensors = [] } = plan;
  const other = otherOf(dtype);
  if (![...tensors, ...stateTensors].some((tensor) => tensor.dtype === other)) return plan;
  const renamed = (all: readonly PlannedTensor[]): readonly PlannedTensor[] =>
    all.map((tensor) => {
      const origin = float4As(tensor.origin, dtype);
      // What has been given another rank is not a plain copy of its origin.
      return origin === tensor.origin || tensor.shape.length !== origin.shape.length
        ? tensor
        : { ...tensor, dtype: origin.dtype, shape: origin.shape, origin };
    });
  return { ...plan, tensors: renamed(tensors), ...(plan.stateTensors === undefined ? {} : { stateTensors: renamed(stateTensors) }) };
}

function otherOf(dtype: Float4): Float4 {
  return dtype === 'F4' ? 'F4_X2' : 'F4';
}
