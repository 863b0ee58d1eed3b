/**
 * Four-bit floats under both of their names: safetensors counts them (`F4`), torch counts the bytes that hold two of them (`F4_X2`,
 * its `float4_e2m1fn_x2`). The bytes are the same, so a file of either kind is written of both.
 */
import type { Dtype } from '../model/dtype.ts';
import type { Plan, PlannedTensor } from '../model/plan.ts';

/** Elements of one name for each of the other. */
const RATIO: Readonly<Partial<Record<Dtype, number>>> = { F4: 2, F4_X2: 1 / 2 };

/** The plan with its four-bit floats, those of a training state too, under the name given; one that it does not fit is left as it is. */
export function withFloat4As(plan: Plan, dtype: 'F4' | 'F4_X2'): Plan {
  const other = dtype === 'F4' ? 'F4_X2' : 'F4';
  const { tensors, stateTensors = [] } = plan;
  if (![...tensors, ...stateTensors].some((tensor) => tensor.dtype === other)) return plan;
  const renamed = (all: readonly PlannedTensor[]): readonly PlannedTensor[] =>
    all.map((tensor) => (tensor.dtype === other ? as(tensor, dtype, RATIO[dtype]!) : tensor));
  return { ...plan, tensors: renamed(tensors), ...(plan.stateTensors === undefined ? {} : { stateTensors: renamed(stateTensors) }) };
}

function as(tensor: PlannedTensor, dtype: Dtype, ratio: number): PlannedTensor {
  const { shape, origin } = tensor;
  const scaled = (sizes: readonly number[]): readonly number[] => [...sizes.slice(0, -1), sizes.at(-1)! * ratio];
  const fits = shape.length > 0 && Number.isInteger(shape.at(-1)! * ratio) && Number.isInteger(origin.offset * ratio);
  // Rows that do not follow each other have no such form; nor has what has been given another shape.
  if (!fits || origin.stride !== undefined || origin.shape.length !== shape.length) return tensor;
  return {
    ...tensor,
    dtype,
    shape: scaled(shape),
    origin: { ...origin, dtype, shape: scaled(origin.shape), offset: origin.offset * ratio },
  };
}
