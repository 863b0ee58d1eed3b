/** Outputs of one pipeline that would destroy each other: the same place, or the place of what lies beside the other. */
import { CheckpointConfigError } from '../src/errors.ts';
import { outputUri } from '../src/io/publish/destination.ts';
import { manifestPath } from '../src/io/publish/manifest.ts';
import { reportPath } from '../src/io/publish/report-file.ts';
import type { PlainStage } from '../src/pipeline/contract.ts';

export interface OutputClash {
  /** The later one of the two. */
  readonly stage: number;
  readonly error: CheckpointConfigError;
}

/** A problem for each output that clashes with one before it, at the later one's `uri`. */
export function outputClashes(stages: readonly PlainStage[]): readonly OutputClash[] {
  const outputs = stages.flatMap(({ type, options }, index) => {
    const uri = type === 'sink.publish' ? placeOf(options['uri']) : undefined;
    return uri === undefined ? [] : [{ index, uri }];
  });
  return outputs.flatMap(({ index, uri }, at) => {
    const [clash] = outputs.slice(0, at).flatMap((other) => {
      const what = clashOf(uri, other.uri);
      return what === undefined ? [] : [`\`uri\` is ${what} stages[${other.index}], and one would destroy the other. Choose another one.`];
    });
    return clash === undefined
      ? []
      : [{ stage: index, error: new CheckpointConfigError(`sink.publish: ${clash}`, `stages[${index}].uri`) }];
  });
}

function clashOf(uri: string, earlier: string): string | undefined {
  if (uri === earlier) return 'that of';
  for (const [what, beside] of [
    ['manifest', manifestPath],
    ['report', reportPath],
  ] as const) {
    if (uri === beside(earlier)) return `the place of the ${what} of`;
    if (beside(uri) === earlier) return `where its ${what} would be the output of`;
  }
  return undefined;
}

/** One spelling of a place; none for what no output may be, as the stage's own check says. */
export function placeOf(uri: unknown): string | undefined {
  if (typeof uri !== 'string') return undefined;
  try {
    return outputUri(uri);
  } catch {
    return undefined;
  }
}
