/**
 * `sink.publish`: plan → file, in one pass, atomically, with a manifest beside it.
 *
 * Shards are published one by one, their index last: without it a set is not there. An older index that names one of them goes
 * before the first shard; one of other files is replaced by the new one.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { CheckpointError, type Json } from '../../src/errors.ts';
import { checkShards, layoutOutputs, REVISIONS, type Outputs } from '../../src/formats/outputs.ts';
import type { Arrange } from '../../src/formats/safetensors/layout.ts';
import { LONG_WORK } from '../../src/io/breath.ts';
import type { TensorDigests } from '../../src/io/copy/copy.ts';
import { digestTensors } from '../../src/io/digests/digest-tensors.ts';
import { copyArrangement, destinationOf, nameOf, outputUri, siblingUri, type PublishedFile } from '../../src/io/publish/destination.ts';
import type { ResumableProgress } from '../../src/io/publish/heartbeat.ts';
import { makeWay } from '../../src/io/publish/make-way.ts';
import { manifestPath, renewRecipe, unchangedManifest, writeManifest, type ManifestContent } from '../../src/io/publish/manifest.ts';
import { leftBeside } from '../../src/io/publish/other-form.ts';
import { publishIndex, shardsOf, type Shard } from '../../src/io/publish/publish-index.ts';
import { manifestRoom } from '../../src/io/publish/room.ts';
import { withdraw, withdrawShards } from '../../src/io/publish/withdraw.ts';
import { checkOutput } from '../../src/io/storage/storage.ts';
import { FORMATS } from '../../src/model/header.ts';
import type { LeftOut, Plan } from '../../src/model/plan.ts';
import { formatBytes, formatCount, parseBytes } from '../../src/model/text.ts';
import { withWarnings } from '../../src/model/warnings.ts';
import { refusedBy } from '../option-checks.ts';
import { keepPublished } from '../published.ts';
import { defineStage, type StageCall } from '../stage.ts';

/** Entries of a list in the run's record; the manifest has all. */
const LISTED = 20;

/** More than nothing, and whole where bytes are counted. */
const SHARD_SIZE = /^(?!0+(?:\.0*)?(?:\s|[A-Za-z]|$))(?:\d+(?:\s*B)?|\d+(?:\.\d+)?\s*[KMGT]i?B)$/i;
const SHARD_SIZE_ERROR = 'expected a size such as 5GB or 512MiB';

const options = z
  .strictObject({
    uri: z.string().min(1).superRefine(refusedBy(checkOutput)).describe('where to publish: absolute path, file:// or s3:// URI'),
    format: z
      .enum(FORMATS)
      .default('safetensors')
      .describe(
        '`safetensors`; or of torch, for `weights_only=True`: `state_dict` the dict of tensors by itself, as transformers, timm and `load_state_dict` take it; `pytorch` that dict under `model_state_dict`, with training state beside it; `lightning` what a Trainer resumes from',
      ),
    shard_size: z
      .union([z.number().int().positive(SHARD_SIZE_ERROR), z.string().regex(SHARD_SIZE, SHARD_SIZE_ERROR)], { error: SHARD_SIZE_ERROR })
      .describe('most bytes of tensors in a file (`5GB`, `512MiB`): larger outputs become shards with an index; safetensors only')
      .optional(),
    overwrite: z
      .enum(['never', 'if_changed', 'always'])
      .default('if_changed')
      .describe(
        'what happens to an output that is there: `always` replaces it; the others leave what would be published anyway, as `unchanged`, and else fail (`never`) or replace it',
      ),
    server_side_copy: z
      .boolean()
      .default(true)
      .describe('from S3 to the same S3 store: let the store copy unchanged bytes itself, which leaves digests out of the manifest'),
    training_state: z
      .boolean()
      .default(true)
      .describe('publish the training state that the loader kept, where the format has a place for it'),
  })
  .superRefine(refusedBy(({ format, shard_size: shardSize }) => checkShards(format, shardSize)));
type Options = z.infer<typeof options>;

export default defineStage<Options>({
  type: 'sink.publish',
  description: 'Write the planned file: one pass, digests in flight, atomic rename, manifest beside it',
  options: options as z.ZodType<Options>,
  locations: ['uri'],
  async run(call) {
    const { context, run, services, stage } = call;
    if (context.plan === undefined) {
      throw new CheckpointError(`${stage.type} requires a plan: put a loader before it.`, {
        retryable: false,
        details: { stage: stage.type, missing_fields: ['plan'] },
      });
    }
    const uri = outputUri(call.options.uri);
    await services.storage.check(uri);
    const files = destinationOf(services.storage, uri, call.signal);
    // The workspace verifies the digest: what is read is the plan that a loader of this run wrote.
    const given = (await services.workspace(run.workspace).getJson(context.plan)) as Plan;
    const { format, shard_size: shardSize, training_state: trainingState, overwrite, server_side_copy: serverSideCopy } = call.options;
    const asked = JSON.stringify([format, shardSize ?? null, trainingState, REVISIONS[format]]);
    const planSha256 = createHash('sha256').update(context.plan.sha256).update(asked).digest('hex');
    const outputs = outputsOf(given, call.options, serverSideCopy ? copyArrangement(services.storage, uri) : undefined);
    const { plan } = outputs;
    const target = outputs.index === null ? uri : siblingUri(uri, outputs.index.name);
    const manifest = overwrite === 'always' ? null : await unchangedManifest(files, target, planSha256);
    // Found out while bytes are on their way: the program's own files are read for it. What is wrong shows where it is asked for.
    const finding = call.recipe(plan);
    finding.catch(() => undefined);
    const token = partialToken(call);
    const places = outputs.files.map(({ name }) => (name === null ? uri : siblingUri(uri, name)));
    const settle = (): Promise<unknown> => Promise.all([...new Set([target, ...places])].map((place) => files.settle(place, token)));
    const leftover = async (older: readonly string[]): Promise<readonly string[]> =>
      format === 'safetensors' ? leftBeside(files, { uri, index: outputs.index === null ? null : target, older }) : [];
    if (manifest !== null) {
      await renewRecipe(files, target, manifest, { recipe: await finding, token });
      await settle();
      return outcome(call, [...plan.dropped, ...outputs.dropped], {
        uri: target,
        size: manifest.size,
        sha256: manifest.sha256 ?? null,
        tensors: plan.tensors.length,
        unchanged: true,
        copied: 0,
        overflowed: 0,
        warnings: await leftover([]),
      });
    }
    // The index of a set that is read goes for nothing, nor do its shards.
    const read = context.source === undefined ? plan.files : [context.source, ...plan.files];
    for (const each of new Set([target, ...places])) await files.checkApart(each, read);
    let older: readonly string[] = [];
    if (outputs.index !== null) {
      older = await makeWay(files, {
        files: outputs.files.map(({ layout }, index) => ({ uri: places[index]!, size: layout.size })),
        beside: Buffer.byteLength(outputs.index.text) + manifestRoom(plan.tensors),
        token,
        content: planSha256,
        index: target,
        overwrite,
      });
    }
    const published: PublishedFile[] = [];
    // What follows waits for stores and disks, with pieces of work between.
    call.turn.giveBack();
    for (const [index, { layout }] of outputs.files.entries()) {
      const copy = (): Promise<PublishedFile> =>
        files.publish({
          uri: places[index]!,
          layout,
          plan,
          open: (file) => services.openPinned(file),
          token,
          content: planSha256,
          overwrite,
          serverSideCopy,
          // Heartbeats of this stage are all made here, by an attempt before this one; they name the file they are about.
          resume: call.resume as unknown as ResumableProgress | undefined,
          onProgress: (progress) => call.heartbeat({ ...progress, size: layout.size }),
          signal: call.signal,
        });
      published.push(await services.transfers.use(copy, call.signal));
    }
    // A manifest of very many tensors is long work again.
    if (context.plan.size >= LONG_WORK) await call.turn.take();
    const copied = published.reduce((sum, file) => sum + file.copied, 0);
    const digests = await digestsOf(plan, outputs, published, call);
    let shards: readonly Shard[] | undefined;
    const own = outputs.index === null ? [] : places.map((place, index) => ({ ...published[index]!, uri: place, token }));
    let { size, sha256, identity } = published[0]!;
    if (outputs.index !== null) {
      shards = await shardsOf(files, own);
      ({ sha256, identity } = await publishIndex(files, { uri: target, text: outputs.index.text, token }));
      size = published.reduce((sum, file) => sum + file.size, Buffer.byteLength(outputs.index.text));
    }
    const dropped = [...plan.dropped, ...outputs.dropped];
    const overflows = overflowsOf(plan, outputs, published);
    const recipe = await finding;
    const content: ManifestContent = {
      format,
      size,
      ...(sha256 === null ? {} : { sha256 }),
      planSha256,
      source: plan.files,
      tensors: plan.tensors.map(({ name, dtype, shape }, index) => {
        const digest = digests[index];
        return digest === undefined ? { name, dtype, shape } : { name, dtype, shape, sha256: digest };
      }),
      skipped: plan.skipped,
      dropped,
      frozen: plan.frozen,
      record: { ...context.metadata, ...plan.record },
      ...(copied === 0 ? {} : { transfer: { copied_server_side: copied, passed_through: size - copied } }),
      ...(overflows.length === 0 ? {} : { overflowed: overflows }),
      ...(outputs.tied.length === 0 ? {} : { tied: outputs.tied }),
      ...(shards === undefined ? {} : { shards }),
      ...(recipe === null ? {} : { recipe }),
    };
    await writeManifest(files, { uri: target, identity, token }, content, own);
    keepPublished(services, run.runId, target, content);
    await settle();
    const overflowed = overflows.reduce((sum, { values }) => sum + values, 0);
    const warnings = [...(await leftover(older)), ...new Set(published.flatMap((file) => file.warnings ?? []))];
    const tensors = plan.tensors.length;
    return outcome(call, dropped, { uri: target, size, sha256, tensors, unchanged: false, copied, overflowed, warnings });
  },
  async discard(call) {
    const uri = outputUri(call.options.uri);
    await call.services.storage.check(uri);
    const files = destinationOf(call.services.storage, uri);
    const token = partialToken(call);
    await files.discard(uri, token);
    const places = await placesOf(call);
    if (places === null) await withdraw(files, uri, token);
    else {
      for (const shard of places.shards) await files.discard(shard, token);
      await withdrawShards(files, places.index, places.shards, token);
    }
    // The first one last: it says which folders were made, and they go when all of them are empty.
    for (const each of places?.shards.toReversed() ?? [uri]) await files.settle(each, token);
  },
});

/** Shards and index of an output of several files; null of one. */
async function placesOf({
  context,
  options,
  run,
  services,
}: Pick<StageCall<Options>, 'context' | 'options' | 'run' | 'services'>): Promise<{ index: string; shards: readonly string[] } | null> {
  if (options.shard_size === undefined || context.plan === undefined) return null;
  const uri = outputUri(options.uri);
  const { files, index } = outputsOf((await services.workspace(run.workspace).getJson(context.plan)) as Plan, options);
  return index === null ? null : { index: siblingUri(uri, index.name), shards: files.map(({ name }) => siblingUri(uri, name!)) };
}

function outputsOf(plan: Plan, { uri, format, shard_size: shardSize, training_state: trainingState }: Options, arrange?: Arrange): Outputs {
  const name = nameOf(outputUri(uri));
  return layoutOutputs(plan, { format, name, shardSize: shardSize === undefined ? null : bytesOf(shardSize), trainingState, arrange });
}

function bytesOf(size: number | string): number {
  // The schema has let nothing else through.
  return typeof size === 'number' ? size : Math.max(1, parseBytes(size));
}

/** SHA-256 of each of the plan's tensors: known from writing it, or for a view of a larger one read again; of none that a store copied. */
async function digestsOf(
  plan: Plan,
  { placeOf }: Outputs,
  published: readonly { readonly tensors: TensorDigests }[],
  { services, signal }: StageCall<Options>,
): Promise<readonly (string | undefined)[]> {
  const views = plan.tensors.filter((_, index) => placeOf(index) === null);
  const read = await digestTensors({ tensors: views, plan, open: (file) => services.openPinned(file), signal, rests: 'none' });
  let next = 0;
  return plan.tensors.map((_, index) => {
    const place = placeOf(index);
    return place === null ? read[next++]! : published[place.file]!.tensors[place.tensor];
  });
}

/** Tensors of which a cast found values beyond the range of the new dtype. */
function overflowsOf(plan: Plan, { placeOf }: Outputs, published: readonly PublishedFile[]): readonly { name: string; values: number }[] {
  if (published.every(({ overflowed }) => Object.keys(overflowed).length === 0)) return [];
  return plan.tensors.flatMap(({ name }, index) => {
    const place = placeOf(index);
    const values = place === null ? 0 : (published[place.file]!.overflowed[place.tensor] ?? 0);
    return values === 0 ? [] : [{ name, values }];
  });
}

/** One name for the partial file of all attempts of this stage in this run, and of no other. */
function partialToken({ run, stage }: Pick<StageCall<unknown>, 'run' | 'stage'>): string {
  return createHash('sha256').update(`${run.runId}/${stage.index}`).digest('hex').slice(0, 16);
}

function outcome(
  call: StageCall<Options>,
  dropped: readonly LeftOut[],
  done: {
    uri: string;
    size: number;
    sha256: string | null;
    tensors: number;
    unchanged: boolean;
    copied: number;
    overflowed: number;
    warnings: readonly string[];
  },
) {
  const { context } = call;
  const { copied, overflowed, sha256, warnings, ...rest } = done;
  const output = {
    ...rest,
    ...(sha256 === null ? {} : { sha256 }),
    ...(copied === 0 ? {} : { copied_server_side: copied, passed_through: done.size - copied }),
    format: call.options.format,
    manifest: manifestPath(done.uri),
  };
  const metadata: Record<string, Json> = {
    ...context.metadata,
    output_path: done.uri,
    ...(sha256 === null ? {} : { output_sha256: sha256 }),
    ...(overflowed === 0 ? {} : { num_overflowed: overflowed }),
    ...(warnings.length === 0
      ? {}
      : {
          warnings: withWarnings(
            context.metadata,
            warnings.map((text) => text.slice(0, 300)),
          ),
        }),
    ...(dropped.length === 0
      ? {}
      : {
          dropped: dropped.slice(0, LISTED).map(({ what, reason }) => ({ what: what.slice(0, 120), reason: reason.slice(0, 120) })),
          num_dropped: dropped.length,
        }),
  };
  const what = `${formatCount(done.tensors, 'tensor')}, ${formatBytes(done.size)}`;
  return {
    context: { ...context, outputs: [...context.outputs, output], metadata },
    summary: done.unchanged
      ? `unchanged: ${what} already there`
      : [
          `published ${what}`,
          ...(copied === 0 ? [] : [`${formatBytes(copied)} of it copied by the store itself`]),
          ...(overflowed === 0 ? [] : [`${formatCount(overflowed, 'value')} beyond the range of the new dtype`]),
        ].join(', '),
  };
}
