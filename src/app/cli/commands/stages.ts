/** `ckpt stages`: the catalog. */
import { z } from 'zod';
import { loadCatalog } from '../../../../activities/catalog.ts';
import { aliasesOf } from '../../../pipeline/anemoi.ts';
import { printJson, type OutputOptions } from '../output.ts';

export async function stages(options: OutputOptions & { readonly plugins?: readonly string[] }): Promise<void> {
  const catalog = [...(await loadCatalog(options.plugins)).values()].map(({ type, description, options: schema }) => ({
    type,
    description,
    ...aliasesOf(type),
    options: z.toJSONSchema(schema, { io: 'input' }),
  }));
  if (options.json === true) return printJson({ stages: catalog });
  for (const stage of catalog) {
    const aliases = [...stage.aliases, ...stage.classes];
    process.stdout.write(`${stage.type}${aliases.length === 0 ? '' : ` (also ${aliases.join(', ')})`}\n  ${stage.description}\n`);
    for (const [name, option] of Object.entries(stage.options.properties ?? {})) {
      const { description, default: fallback } = option as { description?: string; default?: unknown };
      process.stdout.write(`    ${name}: ${description ?? ''}${fallback === undefined ? '' : ` (default ${JSON.stringify(fallback)})`}\n`);
    }
  }
}
