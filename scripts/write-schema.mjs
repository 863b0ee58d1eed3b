/** Writes schema/pipeline.schema.json from the catalog: `npm run schema`. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { loadCatalog } from '../dist/activities/catalog.js';
import { pipelineSchema } from '../dist/activities/pipeline-schema.js';

mkdirSync(new URL('../schema', import.meta.url), { recursive: true });
const text = JSON.stringify(pipelineSchema(await loadCatalog()), null, 2);
writeFileSync(new URL('../schema/pipeline.schema.json', import.meta.url), `${text}\n`);
