/** `ckpt validate`: the document and every option, without running anything. */
import { formatCount } from '../../../model/text.ts';
import { advise } from '../../../pipeline/composition.ts';
import type { PipelineInput } from '../../../pipeline/contract.ts';
import { readAny, type AnyDocument } from '../any-document.ts';
import { documentSettings, type DocumentOptions } from '../document.ts';
import { note, print, printJson, type OutputOptions } from '../output.ts';

export async function validate(file: string, options: OutputOptions & DocumentOptions): Promise<void> {
  const document = await readAny(file, documentSettings(options, note));
  const { stages } = pipelineOf(document);
  const types = stages.map(({ type }) => type);
  const advice = advise(stages);
  if (options.json === true) return printJson({ valid: true, kind: document.kind, stages: types, composition: advice });
  const what = { pipeline: '', batch: ' as a batch', schedule: ` as a schedule of a ${'batch' in document ? 'batch' : 'pipeline'}` };
  print(`${file} is valid${what[document.kind]}: ${formatCount(types.length, 'stage')}: ${types.join(' → ')}`);
  for (const { level, code, message } of advice) print(`  ${level} ${code}: ${message}`);
}

/** What runs in the end: of a batch, for each item. */
function pipelineOf(document: AnyDocument): PipelineInput {
  if ('batch' in document) return document.batch!.pipeline;
  return document.pipeline!;
}
