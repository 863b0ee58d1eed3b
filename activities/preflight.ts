/**
 * `pipeline.preflight`: what can be known to be wrong before the first stage, all at once, and cheaply.
 *
 * Invariant: it reads no tensor and no header, writes nothing but one blob of the workspace that is always the same, and never
 * throws for what it finds: the workflow decides what follows from it.
 */
import { isCheckpointError, reportOf, type JsonObject } from '../src/errors.ts';
import { checkUrl } from '../src/io/locations/credentials.ts';
import { checkReadable, checkWritable } from '../src/io/locations/places.ts';
import { destinationOf, siblingUri } from '../src/io/publish/destination.ts';
import { isS3 } from '../src/io/s3/location.ts';
import { isIndexName } from '../src/model/checkpoint-names.ts';
import { isHttp } from '../src/model/scheme.ts';
import { formatBytes } from '../src/model/text.ts';
import type { Need, PreflightInput, PreflightOutput, Problem } from '../src/pipeline/contract.ts';
import { usualNeeds } from '../src/pipeline/needs.ts';
import { fittedProblems } from '../src/pipeline/payload.ts';
import { isSink, isSource } from '../src/pipeline/stage-kinds.ts';
import { parseOptions, stageOfType, type Catalog } from './catalog.ts';
import { checkLocations } from './option-checks.ts';
import { outputClashes, placeOf, readBefore } from './output-clashes.ts';
import { ofTarget, TARGET } from './read-target.ts';
import type { Services } from './services.ts';
import type { StageDefinition } from './stage.ts';

/** Milliseconds to reach a store: after that it is the stage's turn, with its retries. */
const REACH_TIMEOUT = 20_000;
/** More are of no use to whoever reads them. */
const MOST_PROBLEMS = 50;

interface Place {
  readonly stage: number;
  readonly option: string;
  readonly uri: string;
  readonly use: 'read' | 'write';
}

export async function preflight(
  catalog: Catalog,
  services: Services,
  { stages, workspace }: PreflightInput,
  signal?: AbortSignal,
): Promise<PreflightOutput> {
  const problems: Problem[] = [];
  const warnings: string[] = [];
  const needs: (readonly Need[])[] = [];
  const queues: (string | null)[] = [];
  const places: Place[] = [];
  for (const [index, { type, options }] of stages.entries()) {
    needs.push(usualNeeds(type));
    queues.push(null);
    try {
      const definition = stageOfType(catalog, type, index);
      const parsed = parseOptions(definition, options, index);
      checkLocations(definition, options, index);
      if (definition.moves?.(parsed) ?? isSink(type)) queues[index] = services.transferQueue;
      needs[index] = definition.needs ?? usualNeeds(type);
      places.push(...placesOf(definition, options, index));
    } catch (error) {
      problems.push(problemOf(error, { path: `stages[${index}]`, stage: index, kind: 'config' }));
    }
  }
  for (const { stage, error } of outputClashes(stages))
    problems.push(problemOf(error, { path: `stages[${stage}]`, stage, kind: 'config' }));
  const sizes: number[] = [];
  const rooms: { readonly uri: string; readonly free: number }[] = [];
  const reach = AbortSignal.any([AbortSignal.timeout(REACH_TIMEOUT), ...(signal === undefined ? [] : [signal])]);
  const checks = places
    // What an earlier stage publishes need not be there yet.
    .filter(
      ({ uri, stage, use }) =>
        use === 'write' || !places.some((other) => other.use === 'write' && other.stage < stage && covers(other.uri, uri)),
    )
    .map(async ({ uri, use, stage, option }) => {
      try {
        // Opening may fetch the whole file where the server has no ranges; that is for the stage.
        if (use === 'read' && isHttp(uri)) return void checkUrl(uri);
        // The fence first: nobody learns here what lies outside of it.
        await services.storage.check(uri);
        if (use === 'read') {
          const size = await checkReadable(uri, (each) => services.open(each, reach));
          if (isSource(stages[stage]!.type)) sizes.push(size);
        } else {
          const free = await checkWritable(uri, services.storage, reach);
          if (free !== null) rooms.push({ uri, free });
          await checkUnlinked(stages, stage, services);
        }
      } catch (error) {
        const said = option === TARGET ? ofTarget(error) : error;
        problems.push(problemOf(said, { path: `stages[${stage}].${option}`, stage, kind: 'place' }));
      }
    });
  const probe = services
    .workspace(workspace, signal)
    .reach()
    .catch((error: unknown) => problems.push(problemOf(error, { path: 'workspace', stage: null, kind: 'place' })));
  await Promise.all([...checks, probe]);
  signal?.throwIfAborted();
  // What will be published may be smaller than the source, so little room is not an error yet; the sink knows its size.
  const largest = Math.max(0, ...sizes);
  for (const { uri, free } of rooms)
    if (free < largest) warnings.push(`${uri}: ${formatBytes(free)} are free there; the source has ${formatBytes(largest)}.`);
  // In the order of the document, whichever check was done first; the workspace last.
  problems.sort((a, b) => (a.stage ?? Infinity) - (b.stage ?? Infinity) || (a.path < b.path ? -1 : 1));
  return { problems: fittedProblems(problems.slice(0, MOST_PROBLEMS)), warnings, needs, queues };
}

/** Throws where links make a sink's place that of a source; the same place as it is spelt has been found before. */
async function checkUnlinked(stages: PreflightInput['stages'], sink: number, { storage }: Services): Promise<void> {
  const output = placeOf(stages[sink]!.options['uri']);
  if (output === undefined) return;
  const read = readBefore(stages, sink).filter((uri) => uri !== output);
  await destinationOf(storage, output).checkApart(
    output,
    read.map((uri) => ({ uri })),
  );
}

/** A stage's options that are places: a sink writes to its own, every other stage reads from them. */
function placesOf({ type, locations = [] }: StageDefinition, options: JsonObject, stage: number): readonly Place[] {
  const use = isSink(type) ? 'write' : 'read';
  const version = options['version_id'];
  return [...locations, ...(isSource(type) ? ['url'] : [])].flatMap((option) => {
    const place = options[option];
    if (typeof place !== 'string') return [];
    return [{ stage, option, uri: typeof version === 'string' ? `${place}?versionId=${version}` : place, use }];
  });
}

/** A published file, its folder, or an index beside it, which the shards of an output have: however each of the two is spelt. */
function covers(written: string, read: string): boolean {
  const output = placeOf(written);
  if (output === undefined) return false;
  const folder = siblingUri(output, '');
  const place = placeOf(read) ?? read;
  // Without a slash at its end, an S3 URI names an object.
  const isFolder = place === folder || (!isS3(place) && `${place}/` === folder);
  return isFolder || place === output || (isIndexName(place) && siblingUri(place, '') === folder);
}

function problemOf(error: unknown, place: Pick<Problem, 'path' | 'stage' | 'kind'>): Problem {
  const report = reportOf(error);
  const path = report.details['config_path'];
  return {
    ...place,
    // Options say themselves which of them is wrong.
    ...(typeof path === 'string' && path !== '' ? { path } : {}),
    transient: !isCheckpointError(error) || error.retryable,
    error: report,
  };
}
