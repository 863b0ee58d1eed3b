/** `ckpt stages`: the catalog. */
import { z } from 'zod';
import { loadCatalog } from '../../../../activities/catalog.ts';
import { aliasesOf } from '../../../pipeline/stage-names.ts';
import { paintFor, type Paint } from '../colors.ts';
import { printJson, printPainted, type OutputOptions } from '../output.ts';
import { beside, indented, widthOf } from '../wrap.ts';

export interface Entry {
  readonly type: string;
  readonly description: string;
  readonly aliases: readonly string[];
  readonly classes: readonly string[];
  readonly options: { readonly properties?: Readonly<Record<string, unknown>>; readonly required?: readonly string[] };
}

export async function stages(options: OutputOptions & { readonly plugins?: readonly string[] }): Promise<void> {
  const catalog = [...(await loadCatalog(options.plugins)).values()].map(({ type, description, options: schema }) => ({
    type,
    kind: type.slice(0, type.indexOf('.')),
    name: type.slice(type.indexOf('.') + 1),
    description,
    ...aliasesOf(type),
    options: z.toJSONSchema(schema, { io: 'input' }),
  }));
  if (options.json === true) return printJson({ stages: catalog });
  const paint = paintFor(process.stdout);
  const width = widthOf(process.stdout);
  // Their options are objects here, as every stage's are.
  printPainted(catalog.map((stage) => stageText(stage as Entry, paint, width)).join('\n\n'));
}

export function stageText({ type, description, aliases, classes, options }: Entry, paint: Paint, width: number): string {
  const properties = Object.entries(options.properties ?? {});
  const column = Math.max(0, ...properties.map(([name]) => name.length));
  return [
    paint('bold', type),
    indented(description, 2, width),
    ...(aliases.length + classes.length === 0 ? [] : [paint('dim', indented(`also ${[...aliases, ...classes].join(', ')}`, 2, width))]),
    ...properties.map(([name, option]) => {
      const { description: text = '', default: fallback } = option as { readonly description?: string; readonly default?: unknown };
      const more =
        options.required?.includes(name) === true ? ' (required)' : fallback === undefined ? '' : ` (default ${JSON.stringify(fallback)})`;
      return beside(`    ${name.padEnd(column)}  `, `${text}${more}`, width);
    }),
  ].join('\n');
}
