/** Bundles the workflows at build time: at start it would cost the worker about two seconds. Once more for workers that send traces. */
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';

const workflowsPath = fileURLToPath(new URL('../dist/workflows/index.js', import.meta.url));
const tracing = createRequire(import.meta.url).resolve('@temporalio/interceptors-opentelemetry/lib/workflow-interceptors');

await bundle('workflow-bundle.js', []);
await bundle('workflow-bundle-traced.js', [tracing]);

async function bundle(name, workflowInterceptorModules) {
  const { code } = await bundleWorkflowCode({
    workflowsPath,
    workflowInterceptorModules,
    // No module of ours holds state, so all are evaluated once for a worker, not for each of its runs; what they export is frozen.
    preloadModules: [workflowsPath],
    logger: new DefaultLogger('ERROR'),
  });
  writeFileSync(new URL(`../dist/${name}`, import.meta.url), code);
}
