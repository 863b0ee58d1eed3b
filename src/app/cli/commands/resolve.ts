/** `ckpt resolve`: the answer to a run that waits. */
import { parse } from 'yaml';
import { loadCatalog } from '../../../../activities/catalog.ts';
import { CheckpointConfigError, textOf, type Json, type JsonObject } from '../../../errors.ts';
import { ended } from '../../../model/text.ts';
import { RESOLUTIONS, type Resolution } from '../../../pipeline/contract.ts';
import { print, printJson } from '../output.ts';
import { absoluteLocation, callerFolder } from '../paths.ts';
import { withServer, type ServerOptions } from '../with-server.ts';

export interface ResolveOptions extends ServerOptions {
  readonly retry?: boolean;
  readonly skip?: boolean;
  readonly abort?: boolean;
  /** `--set name=value`, each value as YAML. */
  readonly set?: Readonly<Record<string, string>>;
}

export async function resolve(workflowId: string, options: ResolveOptions): Promise<void> {
  const actions = RESOLUTIONS.filter((action) => options[action] === true);
  const [action] = actions;
  if (action === undefined || actions.length > 1)
    throw new CheckpointConfigError('Say one of `--retry`, `--skip` and `--abort`.', undefined, { details: { given: actions } });
  if (action !== 'retry' && options.set !== undefined) throw new CheckpointConfigError('`--set` goes with `--retry`.');
  const changes = Object.fromEntries(Object.entries(options.set ?? {}).map(([name, text]) => [name, valueOf(name, text)]));
  await withServer(options, async ({ client }) => {
    const resolution: Resolution =
      options.set === undefined
        ? { action }
        : { action, options: await located(changes, (await client.status(workflowId)).waiting?.stage.type, options.plugins) };
    const resolved = await client.resolveFailure(workflowId, resolution);
    if (options.json === true) return printJson({ workflow_id: workflowId, ...resolved });
    print(`${workflowId}: ${action}, stage ${resolved.stage.index + 1} (${resolved.stage.type}).`);
  });
}

function valueOf(name: string, text: string): Json {
  try {
    // YAML as in the document: what it gives is JSON, but for tags and such that the run refuses.
    return parse(text) as Json;
  } catch (cause) {
    throw new CheckpointConfigError(
      `\`--set ${name}\`: ${ended(textOf(cause).split('\n', 1)[0]!.replace(/:$/, ''))} Put quotes around a text with marks in it.`,
      name,
      { cause },
    );
  }
}

/** Relative locations count from where the user stands. */
async function located(changes: JsonObject, type: string | undefined, plugins?: readonly string[]): Promise<JsonObject> {
  const locations = (type === undefined ? undefined : (await loadCatalog(plugins)).get(type)?.locations) ?? [];
  return Object.fromEntries(
    Object.entries(changes).map(([name, value]) => {
      return [name, locations.includes(name) && typeof value === 'string' ? absoluteLocation(value, callerFolder()) : value];
    }),
  );
}
