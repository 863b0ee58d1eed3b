/** What is to be said of a training state beside tensors that are no longer those that it was saved with. */
import type { Plan } from '../model/plan.ts';

/** A warning where there is a training state: `done` is what has become of so many tensors. */
export function staleState({ trainingState }: Plan, count: number, done: string): readonly string[] {
  if (trainingState === undefined || count === 0) return [];
  return [
    `The training state goes along as it was, for the tensors as they were before ${count} of them were ${done}: an optimizer may not fit any more. modifier.drop_training_state leaves it out.`,
  ];
}
