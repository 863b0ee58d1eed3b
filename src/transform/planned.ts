/** How much a plan publishes, training state left aside. */
import { tensorBytes } from '../model/dtype.ts';
import type { Plan } from '../model/plan.ts';

export function plannedOf({ tensors }: Plan): { readonly tensors: number; readonly bytes: number } {
  return { tensors: tensors.length, bytes: tensors.reduce((sum, { dtype, shape }) => sum + tensorBytes(dtype, shape), 0) };
}
