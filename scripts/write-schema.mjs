/** Writes the JSON Schemas of documents: `npm run schema`. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { loadCatalog } from '../dist/activities/catalog.js';
import { pipelineSchema } from '../dist/activities/pipeline-schema.js';
import { scheduleSchema } from '../dist/src/pipeline/schedule-schema.js';

mkdirSync(new URL('../schema', import.meta.url), { recursive: true });
write('pipeline', pipelineSchema(await loadCatalog()));
write('schedule', scheduleSchema());

function write(name, schema) {
  writeFileSync(new URL(`../schema/${name}.schema.json`, import.meta.url), `${JSON.stringify(schema, null, 2)}\n`);
}
