/** Writes the schemas of documents from the catalog: `npm run schema`. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { batchSchema } from '../dist/activities/batch-schema.js';
import { loadCatalog } from '../dist/activities/catalog.js';
import { pipelineSchema } from '../dist/activities/pipeline-schema.js';

const catalog = await loadCatalog();
mkdirSync(new URL('../schema', import.meta.url), { recursive: true });
for (const [name, schema] of [
  ['pipeline', pipelineSchema(catalog)],
  ['batch', batchSchema(catalog)],
])
  writeFileSync(new URL(`../schema/${name}.schema.json`, import.meta.url), `${JSON.stringify(schema, null, 2)}\n`);
