/** `ckpt validate`: the document and every option, without running anything. */
import { formatCount } from '../../../model/text.ts';
import { advise } from '../../../pipeline/composition.ts';
import { documentSettings, readDocument, type DocumentOptions } from '../document.ts';
import { note, print, printJson, type OutputOptions } from '../output.ts';

export async function validate(file: string, options: OutputOptions & DocumentOptions): Promise<void> {
  const document = await readDocument(file, documentSettings(options, note));
  const advice = advise(document.stages);
  if (options.json === true) return printJson({ valid: true, stages: document.stages.map(({ type }) => type), composition: advice });
  print(`${file} is valid: ${formatCount(document.stages.length, 'stage')}: ${document.stages.map(({ type }) => type).join(' → ')}`);
  for (const { level, code, message } of advice) print(`  ${level} ${code}: ${message}`);
}
