/**
 * Whether a pipeline would publish what is there already, told without running it: from the manifest beside the output.
 *
 * The manifest of a run that went through from end to end names its recipe (stages with their options, the program that ran them,
 * how the worker was set) and pins every file that was read. Same recipe, same files, output as it was published: the run would do
 * nothing. Invariant: whatever is not proven gives null, and the run decides; see docs/decisions/0021-unchanged-items.md.
 */
import { createHash } from 'node:crypto';
import type { Json } from '../src/errors.ts';
import { LONG_WORK } from '../src/io/breath.ts';
import { localUri } from '../src/io/local/local-file.ts';
import { destinationOf, nameOf, outputUri, siblingUri } from '../src/io/publish/destination.ts';
import { isAsPublished, manifestPath, readManifest, type Manifest, type Recipe } from '../src/io/publish/manifest.ts';
import { reportPath } from '../src/io/publish/report-file.ts';
import { isS3, parseS3Source, s3Uri } from '../src/io/s3/location.ts';
import { pin, type PinnedFile } from '../src/model/byte-source.ts';
import { shardIndexName } from '../src/model/checkpoint-names.ts';
import { canonicalJson } from '../src/model/json-text.ts';
import type { Plan } from '../src/model/plan.ts';
import { isHttp } from '../src/model/scheme.ts';
import type { Target } from '../src/model/target.ts';
import type { PipelineInput, PlainStage, StageInput } from '../src/pipeline/contract.ts';
import { checkDocument, optionsOf } from '../src/pipeline/document.ts';
import { isSink, isSource, placeOfSource } from '../src/pipeline/stage-kinds.ts';
import { isOurs, type Catalog } from './catalog.ts';
import { programDigest } from './program.ts';
import type { Services } from './services.ts';

type Stages = readonly PlainStage[];

/** Of a publishing stage: how its output came about; null where that cannot be told from the files alone. */
export async function recipeOf(
  catalog: Catalog,
  services: Services,
  { context, pipeline, run }: StageInput,
  plan: Plan,
): Promise<Recipe | null> {
  if (pipeline === undefined || context.source === undefined || !isProvable(catalog, pipeline)) return null;
  const targets = pipeline.filter(({ options }) => typeof options['target'] === 'string');
  const target =
    targets.length === 0 || context.target === undefined
      ? null
      : ((await services.workspace(run.workspace).getJson(context.target)) as Target);
  const inputs = new Map([context.source, ...plan.files, ...(target?.files ?? [])].map((file) => [file.uri, file]));
  // A folder may hold another checkpoint tomorrow, and a JSON spec is pinned nowhere.
  if (!placesIn(pipeline).every((place) => inputs.has(place))) return null;
  return { sha256: recipeDigest(pipeline, services), inputs: [...inputs.values()] };
}

/** URIs of the outputs where a run of this document would leave them as they are; null where that is not known. */
export async function unchangedOutputs(
  catalog: Catalog,
  services: Services,
  document: PipelineInput,
  signal: AbortSignal,
): Promise<readonly string[] | null> {
  try {
    const pipeline = checkDocument(document).stages.map((stage) => ({ type: stage.type, options: optionsOf(stage) }));
    if (!isProvable(catalog, pipeline)) return null;
    const { uri: place, overwrite, shard_size: shardSize } = pipeline.at(-1)!.options;
    if (typeof place !== 'string' || overwrite === 'always') return null;
    const uri = outputUri(place);
    await services.storage.check(uri);
    for (const at of shardSize === undefined ? [uri] : [siblingUri(uri, shardIndexName(nameOf(uri))), uri]) {
      const manifest = await manifestOf(services, at, signal);
      const recipe = manifest?.recipe;
      if (manifest === null || recipe === undefined || manifest.uri !== at) continue;
      if (recipe.sha256 !== recipeDigest(pipeline, services)) continue;
      if (document.report === true && (await destinationOf(services.storage, at).identity(reportPath(at))) === null) continue;
      if (await isAsBefore(services, at, manifest, recipe, placesIn(pipeline), signal)) return [at];
    }
    return null;
  } catch {
    signal.throwIfAborted();
    // What is wrong is for the run to find, with its retries and its place in the document.
    return null;
  }
}

/** One of very many tensors in its turn: what it is read into takes a second, and a hundred MB, so not many at once. */
async function manifestOf(services: Services, uri: string, signal: AbortSignal): Promise<Manifest | null> {
  const files = destinationOf(services.storage, uri);
  const there = await files.identity(manifestPath(uri));
  if (there === null) return null;
  const read = (): Promise<Manifest | null> => readManifest(files, uri);
  return there.size < LONG_WORK ? read() : services.longWork.use(read, signal);
}

async function isAsBefore(
  services: Services,
  uri: string,
  manifest: Manifest,
  { inputs }: Recipe,
  places: readonly string[],
  signal: AbortSignal,
): Promise<boolean> {
  if (!places.every((place) => inputs.some((input) => input.uri === place))) return false;
  for (const input of inputs) if (!isSame(await pinned(services, input.uri, signal), input)) return false;
  return isAsPublished(destinationOf(services.storage, uri), uri, manifest);
}

/** As it is now; nothing of it is read. */
async function pinned(services: Services, uri: string, signal: AbortSignal): Promise<PinnedFile> {
  const source = await services.open(uri, signal);
  await source.close();
  return pin(source);
}

function isSame(a: PinnedFile, b: PinnedFile): boolean {
  return a.uri === b.uri && a.size === b.size && a.identity === b.identity;
}

/** Stages of ours alone, from one file to one output; a page of the web may say anything of its version. */
function isProvable(catalog: Catalog, pipeline: Stages): boolean {
  const types = pipeline.map(({ type }) => type);
  const sources = types.filter((type) => isSource(type));
  return (
    types.every((type) => isOurs(catalog.get(type))) &&
    sources.length === 1 &&
    (sources[0] === 'source.local' || sources[0] === 'source.s3') &&
    types.at(-1) === 'sink.publish' &&
    types.filter((type) => isSink(type)).length === 1 &&
    pipeline.filter(({ options }) => typeof options['target'] === 'string').length <= 1 &&
    placesIn(pipeline).every((place) => isS3(place) || place.startsWith('file://'))
  );
}

/** Everything that is read, as the stages name it. */
function placesIn(pipeline: Stages): readonly string[] {
  return pipeline.flatMap(({ type, options }) => {
    const place = isSource(type) ? placeOfSource(options) : options['target'];
    if (typeof place !== 'string') return [];
    const version = options['version_id'];
    return [inputUri(typeof version === 'string' ? `${place}?versionId=${version}` : place)];
  });
}

/** As what was read is called once it is pinned: the version is part of its identity. */
function inputUri(uri: string): string {
  if (isS3(uri)) return s3Uri(parseS3Source(uri));
  return isHttp(uri) ? uri : localUri(uri);
}

function recipeDigest(pipeline: Stages, { refuseUnknown }: Services): string {
  const program = programDigest();
  return createHash('sha256')
    .update(canonicalJson({ program, refuse_unknown: refuseUnknown === true, stages: pipeline as unknown as Json }))
    .digest('hex');
}
