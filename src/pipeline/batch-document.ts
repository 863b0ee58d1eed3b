/** The shape of a batch document. Workflow-safe: the batch itself checks what it was started with. */
import { CheckpointConfigError, isCheckpointError, type CheckpointError, type Json } from '../errors.ts';
import { isMapping } from '../model/json.ts';
import { numberHint } from '../model/number-hint.ts';
import { didYouMean } from '../model/suggestions.ts';
import { within } from '../model/text.ts';
import { allProblems } from './all-problems.ts';
import { itemOf } from './batch-template.ts';
import { BATCH_KEYS, MOST_ID_BYTES, type BatchInput } from './batch.ts';
import type { PipelineInput } from './contract.ts';
import { ofAnotherKind, withUnknownKeys } from './document-kinds.ts';
import { checkDocument } from './document.ts';
import { movedTo } from './moved-errors.ts';
import { checkName } from './names.ts';
import { plainDocument } from './plain-document.ts';

/** Temporal takes at most 2000 open children of a workflow. */
export const MOST_CONCURRENT = 1000;
export const MOST_CONTINUE_AFTER = 10_000;
/** Characters of a template's JSON: every item's run begins with it. */
const MOST_TEMPLATE = 64 * 1024;

/**
 * Throws `CheckpointConfigError` where the document's shape is wrong; gives it back typed, its pipeline in the plain form. `later`: checks that
 * batches which were begun before there were these need not pass.
 */
export function checkBatch(given: unknown, later: (template: PipelineInput) => void = refuseUnclosed): BatchInput {
  const [first] = batchProblems(given, later);
  if (first !== undefined) throw first;
  const batch = given as BatchInput;
  return { ...batch, pipeline: plainDocument(batch.pipeline).document as PipelineInput };
}

/** All that is wrong with its shape; of its pipeline, the first. */
export function batchProblems(given: unknown, later: (template: PipelineInput) => void = refuseUnclosed): readonly CheckpointError[] {
  if (!isMapping(given)) return [new CheckpointConfigError('A batch is a mapping with `items` and a `pipeline`.', '')];
  const another = ofAnotherKind(given, BATCH_KEYS, 'batch');
  if (another !== undefined) return [another];
  const { name } = given;
  const problems = allProblems([
    () => checkItems(given['items']),
    () => later(checkedTemplate(given['pipeline'])),
    () => checkCount(given['max_concurrent'], 'max_concurrent', MOST_CONCURRENT),
    () => checkCount(given['continue_after'], 'continue_after', MOST_CONTINUE_AFTER),
    () => checkFailures(given['max_failures']),
    ...(['name', 'results'] as const).map((key) => () => checkKind(given[key], key, 'string')),
    ...(['continue_on_error', 'report'] as const).map((key) => () => checkKind(given[key], key, 'boolean')),
    () => void (typeof name === 'string' && checkName(name, 'name')),
  ]);
  return withUnknownKeys(problems, given, BATCH_KEYS, 'batch');
}

function checkFailures(failures: unknown): void {
  const share = typeof failures === 'string' && /^\d+(\.\d+)?%$/.test(failures) && Number.parseFloat(failures) <= 100;
  if (failures === undefined || share || (Number.isInteger(failures) && (failures as number) >= 0)) return;
  throw new CheckpointConfigError(
    `\`max_failures\` is a whole number, or a share such as \`5%\`; got ${JSON.stringify(failures)}.${numberHint(failures)}`,
    'max_failures',
  );
}

function checkKind(value: unknown, key: string, kind: 'string' | 'boolean'): void {
  if (value === undefined || typeof value === kind) return;
  const wanted = kind === 'boolean' ? 'true or false' : 'a text';
  throw new CheckpointConfigError(`\`${key}\` must be ${wanted}; got ${JSON.stringify(value)}.`, key);
}

/** Errors say where in the batch. */
function checkedTemplate(given: unknown): PipelineInput {
  let template: PipelineInput;
  try {
    template = checkDocument(given);
    for (const [index, { type }] of template.stages.entries())
      if (type.includes('${'))
        throw new CheckpointConfigError(
          `\`type\` is \`${type}\`: which stage runs does not come from an item. Write it out.`,
          `stages[${index}].type`,
        );
  } catch (error) {
    throw isCheckpointError(error) ? movedTo(error, (path) => (path === '' ? 'pipeline' : `pipeline.${path}`)) : error;
  }
  const size = JSON.stringify(template).length;
  if (size > MOST_TEMPLATE)
    throw new CheckpointConfigError(
      `The template has ${size} characters, at most ${MOST_TEMPLATE}: every item's run begins with it. Put a long \`target\` into a JSON file and name that.`,
      'pipeline',
    );
  return template;
}

/** A value of the item that no `}` closes would stay in a name as it stands. */
export function refuseUnclosed(template: PipelineInput): void {
  refuseUnclosedIn(template as unknown as Json, 'pipeline');
}

function refuseUnclosedIn(value: Json, path: string): void {
  if (typeof value === 'string' && /\$\{item\.(?![^{}]+\})/.test(value))
    throw new CheckpointConfigError(`\`${within(value, 200)}\` has a \`\${item.\` that no \`}\` closes.`, path);
  if (typeof value !== 'object' || value === null) return;
  for (const [key, each] of Object.entries(value)) refuseUnclosedIn(each, Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`);
}

function checkItems(items: unknown): void {
  if (Array.isArray(items)) return items.forEach((item: unknown, index) => void itemOf(item, `items[${index}]`));
  const one = isMapping(items) ? ['uri', 'manifest', 'failed_in'].filter((key) => typeof items[key] === 'string') : [];
  if (one.length !== 1)
    throw new CheckpointConfigError('`items` is a mapping with `uri` (and `glob`), one with `manifest`, or a list.', 'items');
  const mapping = items as Readonly<Record<string, unknown>>;
  const { glob } = mapping;
  const known: readonly string[] = one[0] === 'uri' ? ['uri', 'glob'] : one;
  const unknown = Object.keys(mapping).find((key) => !known.includes(key));
  if (unknown !== undefined)
    throw new CheckpointConfigError(
      `\`items\` with \`${one[0]}\` has no key \`${unknown}\`.${didYouMean(unknown, known)}`,
      `items.${unknown}`,
    );
  if (glob !== undefined && typeof glob !== 'string' && !(Array.isArray(glob) && glob.every((each) => typeof each === 'string')))
    throw new CheckpointConfigError('`glob` is a pattern such as `**/*.ckpt`, or a list of them.', 'items.glob');
}

function checkCount(value: unknown, key: string, most: number): void {
  if (value === undefined || (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most)) return;
  throw new CheckpointConfigError(`\`${key}\` is a whole number from 1 to ${most}; got ${JSON.stringify(value)}.${numberHint(value)}`, key);
}

/** Throws where a batch's own id leaves no room for its children's. */
export function checkBatchId(workflowId: string): void {
  if (within(workflowId, MOST_ID_BYTES) === workflowId) return;
  throw new CheckpointConfigError(
    `The id of a batch may have ${MOST_ID_BYTES} bytes, as those of its runs begin with it. Choose a shorter \`name\` or \`--id\`.`,
    'name',
  );
}
