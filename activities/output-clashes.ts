/**
 * Outputs of one pipeline that would destroy each other, or what it reads: the same place, or the place of what lies beside the other.
 * Places are compared as they are spelt; what links make of them only a machine knows that has them.
 */
import { CheckpointConfigError } from '../src/errors.ts';
import { localUri } from '../src/io/local/local-file.ts';
import { outputUri } from '../src/io/publish/destination.ts';
import { manifestPath } from '../src/io/publish/manifest.ts';
import { ownSource } from '../src/io/publish/own-source.ts';
import { reportPath } from '../src/io/publish/report-file.ts';
import { parseS3, s3Uri } from '../src/io/s3/location.ts';
import type { PlainStage } from '../src/pipeline/contract.ts';
import { isLoader, isSource } from '../src/pipeline/stage-kinds.ts';

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
    if (readBefore(stages, index).includes(uri))
      return [{ stage: index, error: ownSource(`sink.publish: ${String(stages[index]!.options['uri'])}`, `stages[${index}].uri`) }];
    const [clash] = outputs.slice(0, at).flatMap((other) => {
      const what = clashOf(uri, other.uri);
      return what === undefined ? [] : [`\`uri\` is ${what} stages[${other.index}], and one would destroy the other. Choose another one.`];
    });
    return clash === undefined
      ? []
      : [{ stage: index, error: new CheckpointConfigError(`sink.publish: ${clash}`, `stages[${index}].uri`) }];
  });
}

/** Places of sources whose files a sink is to publish from; none for shards, of which only the stage knows the names. */
export function readBefore(stages: readonly PlainStage[], sink: number): readonly string[] {
  if (stages[sink]!.type !== 'sink.publish' || stages[sink]!.options['shard_size'] !== undefined) return [];
  const before = stages.slice(0, sink);
  return before.flatMap(({ type, options }, index) => {
    const next = before.findIndex((stage, at) => at > index && isSource(stage.type));
    const isRead = next === -1 || before.slice(index, next).some((stage) => isLoader(stage.type));
    const place = isRead ? sourcePlace(type, options) : undefined;
    return place === undefined ? [] : [place];
  });
}

/** As the sink knows the file: one version of an object and its newest have one place. */
function sourcePlace(type: string, { path, uri, url }: PlainStage['options']): string | undefined {
  try {
    if (type === 'source.local') return localUri(String(path ?? uri));
    return type === 'source.s3' ? s3Uri(parseS3(String(url))) : undefined;
  } catch {
    // What is wrong with it is said of the source.
    return undefined;
  }
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
