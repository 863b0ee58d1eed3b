/** `ckpt validate`: the document and every option, without running anything. */
import { formatCount } from '../../../pipeline/text.ts';
import { readDocument } from '../document.ts';
import { printJson, type OutputOptions } from '../output.ts';

export async function validate(file: string, options: OutputOptions): Promise<void> {
  const document = await readDocument(file);
  if (options.json === true) return printJson({ valid: true, stages: document.stages.map(({ type }) => type) });
  process.stdout.write(
    `${file} is valid: ${formatCount(document.stages.length, 'stage')}: ${document.stages.map(({ type }) => type).join(' → ')}\n`,
  );
}
