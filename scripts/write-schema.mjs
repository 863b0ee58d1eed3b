/** Writes the JSON Schemas of documents: `npm run schema`. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { batchSchema } from '../dist/activities/batch-schema.js';
import { loadCatalog } from '../dist/activities/catalog.js';
import { pipelineSchema } from '../dist/activities/pipeline-schema.js';
import { scheduleSchema } from '../dist/src/pipeline/schedule-schema.js';

const catalog = await loadCatalog();
mkdirSync(new URL('../schema', import.meta.url), { recursive: true });
write('pipeline', pipelineSchema(catalog));
write('batch', batchSchema(catalog));
write('schedule', scheduleSchema());

function write(name, schema) {
  writeFileSync(new URL(`../schema/${name}.schema.json`, import.meta.url), `${JSON.stringify(schema, null, 2)}\n`);
}
