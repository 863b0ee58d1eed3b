/** `sink.publish`: plan → file, in one pass, atomically, with a manifest beside it. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { CheckpointError, type Json } from '../../src/errors.ts';
import { layoutSafetensors } from '../../src/formats/safetensors/layout.ts';
import type { Plan } from '../../src/model/plan.ts';
import { formatBytes, formatCount } from '../../src/pipeline/text.ts';
import { isUnchanged, manifestPath, readManifest, writeManifest } from '../../src/io/manifest.ts';
import { discardPartials, publishLocal, type PartialProgress } from '../../src/io/publish-local.ts';
import { localUri } from '../../src/io/local-file.ts';
import { defineStage, type StageCall } from '../stage.ts';

const options = z.strictObject({
  uri: z.string().min(1).describe('where to publish: absolute path or file:// URI'),
  format: z.enum(['safetensors']).default('safetensors').describe('container of the published file'),
});
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
    const uri = localUri(call.options.uri);
    // The workspace verifies the digest: what is read is the plan that a loader of this run wrote.
    const plan = (await services.workspace(run.workspace).getJson(context.plan)) as Plan;
    const planSha256 = createHash('sha256').update(context.plan.sha256).update(call.options.format).digest('hex');
    if (await isUnchanged(uri, planSha256)) {
      const manifest = await readManifest(uri);
      if (manifest !== null)
        return outcome(call, { uri, size: manifest.size, sha256: manifest.sha256, tensors: plan.tensors.length, unchanged: true });
    }
    const layout = layoutSafetensors(plan);
    const published = await publishLocal({
      uri,
      layout,
      plan,
      open: (file) => services.openPinned(file),
      token: partialToken(call),
      // Heartbeats of this stage are all made here, by an attempt before this one.
      ...(call.resume === undefined ? {} : { resume: call.resume as unknown as PartialProgress }),
      onProgress: (progress) => call.heartbeat({ ...progress, size: layout.size }),
      signal: call.signal,
    });
    await writeManifest(uri, {
      format: layout.format,
      size: published.size,
      sha256: published.sha256,
      planSha256,
      source: plan.files,
      tensors: layout.tensors.map(({ name, dtype, shape }, index) => ({ name, dtype, shape, sha256: published.tensors.get(index)! })),
      skipped: plan.skipped,
      dropped: plan.dropped,
      frozen: plan.frozen,
      record: { ...context.metadata, ...plan.record },
    });
    return outcome(call, { uri, size: published.size, sha256: published.sha256, tensors: plan.tensors.length, unchanged: false });
  },
  async discard(call) {
    await discardPartials(localUri(call.options.uri), partialToken(call));
  },
});

/** One name for the partial file of all attempts of this stage in this run, and of no other. */
function partialToken({ run, stage }: Pick<StageCall<unknown>, 'run' | 'stage'>): string {
  return createHash('sha256').update(`${run.runId}/${stage.index}`).digest('hex').slice(0, 16);
}

function outcome(call: StageCall<Options>, done: { uri: string; size: number; sha256: string; tensors: number; unchanged: boolean }) {
  const { context } = call;
  const output = { ...done, format: call.options.format, manifest: manifestPath(done.uri) };
  const metadata: Record<string, Json> = { ...context.metadata, output_path: done.uri, output_sha256: done.sha256 };
  const what = `${formatCount(done.tensors, 'tensor')}, ${formatBytes(done.size)}`;
  return {
    context: { ...context, outputs: [...context.outputs, output], metadata },
    summary: done.unchanged ? `unchanged: ${what} already there` : `published ${what}`,
  };
}
