/** What is known of a run, brought into the form that its report shows. */
import type { JsonObject } from '../errors.ts';
import { isDtype, tensorBytes } from '../model/dtype.ts';
import type { Header, Tensor } from '../model/header.ts';
import type { LeftOut, Plan } from '../model/plan.ts';
import type { PipelineResult } from '../pipeline/contract.ts';
import { MARK, type GlobalFacts, type LeftOutFacts, type RunContents, type SourceFacts, type TensorColumns } from './contents.ts';

/** What a report needs of an output's manifest. */
export interface Published {
  readonly tensors: readonly {
    readonly name: string;
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly sha256?: string;
  }[];
  readonly skipped: readonly LeftOut[];
  readonly dropped: readonly LeftOut[];
  readonly frozen: readonly string[];
  readonly record: JsonObject;
}

export interface RunFacts {
  readonly result: PipelineResult;
  readonly document: JsonObject | null;
  readonly header: Header | null;
  readonly plan: Plan | null;
  /** Of the output that the report is about; null: there is none, or it cannot be read. */
  readonly published: Published | null;
  readonly gaps: readonly string[];
  readonly created: string;
  readonly version: string;
}

export function runContents({ result, document, header, plan, published, gaps, created, version }: RunFacts): RunContents {
  const { workflow_id: workflowId, run_id: runId, status, stages, outputs, metadata, error, waiting } = result;
  const { skipped, dropped } = published ?? plan ?? { skipped: [], dropped: [] };
  const name = document?.['name'];
  return {
    kind: 'run',
    created,
    version,
    workflowId,
    runId,
    name: typeof name === 'string' ? name : null,
    gaps,
    document,
    status,
    stages,
    error,
    waiting,
    source: header === null ? null : sourceFacts(header),
    outputs,
    tensorsAre: published === null ? 'planned' : 'published',
    tensors: tensorColumns(header, plan, published),
    dropped: dropped.map(leftOutFacts),
    skipped: skipped.map(leftOutFacts),
    globals: header === null ? [] : globalFacts(header),
    warnings: warningsIn(metadata),
    metadata,
  };
}

function tensorColumns(header: Header | null, plan: Plan | null, published: Published | null): TensorColumns | null {
  const tensors = published?.tensors ?? plan?.tensors;
  if (tensors === undefined) return null;
  const rows = new Rows();
  const isFrozen = membersOf(tensors, published?.frozen ?? plan?.frozen ?? []);
  const planned = byName(plan?.tensors ?? []);
  const sourceFiles = header === null ? null : new Set(header.files.map(({ uri }) => uri));
  const filledNames = new Set(namesIn(published?.record, 'filled_params', 'refreshed_params'));
  for (let index = 0; index < tensors.length; index++) {
    const tensor = tensors[index]!;
    const { name, dtype, shape } = tensor;
    const origin = planned(name)?.origin;
    const storage = origin === undefined ? undefined : plan!.storages[origin.storage];
    const file = storage === undefined ? undefined : plan!.files[storage.file];
    const filled = file === undefined || sourceFiles === null ? filledNames.has(name) : !sourceFiles.has(file.uri);
    const cast = origin !== undefined && origin.dtype !== dtype;
    const marks = (filled ? MARK.filled : 0) | (isFrozen[index] === 1 ? MARK.frozen : 0) | (cast ? MARK.cast : 0);
    const sha256 = 'sha256' in tensor && typeof tensor.sha256 === 'string' ? tensor.sha256 : null;
    rows.add({ name, dtype, shape, marks, note: cast ? `from ${origin.dtype}` : null, sha256 });
  }
  const sourceWeights = byName(header?.weights ?? []);
  for (const { what, reason } of published?.skipped ?? plan?.skipped ?? []) {
    const weight = sourceWeights(what);
    const tensor = weight === undefined ? undefined : header!.tensors[weight.tensor];
    const known = tensor === undefined || tensor.unsupported !== undefined ? { dtype: null, shape: null } : tensor;
    rows.add({ name: what, dtype: known.dtype, shape: known.shape, marks: MARK.skipped, note: reason, sha256: null });
  }
  return rows.columns;
}

/** 1 for each of the tensors that `names` has: they mostly come in the order of the tensors. */
function membersOf(tensors: readonly { readonly name: string }[], names: readonly string[]): Uint8Array {
  const found = new Uint8Array(tensors.length);
  let next = 0;
  for (let index = 0; index < tensors.length; index++) {
    if (tensors[index]!.name !== names[next]) continue;
    found[index] = 1;
    next++;
  }
  if (next === names.length) return found;
  const all = new Set(names);
  return Uint8Array.from(tensors, ({ name }) => (all.has(name) ? 1 : 0));
}

/** Looks names up that mostly come in the order of the list. */
function byName<T extends { readonly name: string }>(list: readonly T[]): (name: string) => T | undefined {
  let places: ReadonlyMap<string, T> | undefined;
  let next = 0;
  return (name) => {
    const likely = list[next++];
    return likely?.name === name ? likely : (places ??= new Map(list.map((each) => [each.name, each]))).get(name);
  };
}

interface Row {
  readonly name: string;
  readonly dtype: string | null;
  readonly shape: readonly number[] | null;
  readonly marks: number;
  readonly note: string | null;
  readonly sha256: string | null;
}

class Rows {
  readonly columns = {
    name: [] as string[],
    dtype: [] as (string | null)[],
    shape: [] as (string | null)[],
    bytes: [] as number[],
    marks: [] as number[],
    notes: {} as Record<number, string>,
    sha256: [] as (string | null)[],
  };

  /** Neighbours often have shape and dtype in common. */
  #like = { shape: null as readonly number[] | null, dtype: null as string | null, text: null as string | null, bytes: 0 };

  add({ name, dtype, shape, marks, note, sha256 }: Row): void {
    const { columns } = this;
    if (shape !== this.#like.shape || dtype !== this.#like.dtype) {
      const bytes = shape !== null && isDtype(dtype) ? tensorBytes(dtype, shape) : 0;
      this.#like = { shape, dtype, text: shape === null ? null : shapeText(shape), bytes };
    }
    if (note !== null) columns.notes[columns.name.length] = note;
    columns.name.push(name);
    columns.dtype.push(dtype);
    columns.shape.push(this.#like.text);
    columns.bytes.push(this.#like.bytes);
    columns.marks.push(marks);
    columns.sha256.push(sha256);
  }
}

function shapeText(shape: readonly number[]): string {
  return shape.length === 0 ? 'scalar' : shape.join(' × ');
}

function sourceFacts(header: Header): SourceFacts {
  const { files, format, container, training, findings, tensors, weights } = header;
  const isWeight = new Uint8Array(tensors.length);
  for (const { tensor } of weights) isWeight[tensor] = 1;
  const sum = (members: readonly Tensor[]): number => members.reduce((total, tensor) => total + sizeOf(tensor), 0);
  const others = tensors.filter((_, index) => isWeight[index] === 0);
  return {
    files,
    format,
    container,
    // By name: tied weights count once for each, as a safetensors file would hold them.
    weights: { tensors: weights.length, bytes: sum(weights.map(({ tensor }) => tensors[tensor]!)) },
    others: { tensors: others.length, bytes: sum(others) },
    training,
    findings,
  };
}

function sizeOf({ dtype, shape, unsupported }: Tensor): number {
  return unsupported === undefined ? tensorBytes(dtype, shape) : 0;
}

const ORDER = { dangerous: 0, unknown: 1, safe: 2 } as const;

function globalFacts({ globals }: Header): readonly GlobalFacts[] {
  const found = new Map<string, { -readonly [Key in keyof GlobalFacts]: GlobalFacts[Key] }>();
  for (const { module, name, verdict, member } of globals) {
    const full = `${module}.${name}`;
    const known = found.get(full);
    if (known === undefined) found.set(full, { name: full, verdict, uses: 1, member });
    else known.uses++;
  }
  return [...found.values()].sort((a, b) => ORDER[a.verdict] - ORDER[b.verdict] || (a.name < b.name ? -1 : 1));
}

function leftOutFacts({ what, reason, details }: LeftOut): LeftOutFacts {
  return { what, reason, details: details === undefined || Object.keys(details).length === 0 ? null : JSON.stringify(details) };
}

function namesIn(record: JsonObject | undefined, ...keys: readonly string[]): readonly string[] {
  return keys.flatMap((key) => {
    const list = record?.[key];
    return Array.isArray(list) ? list.filter((name) => typeof name === 'string') : [];
  });
}

function warningsIn(metadata: JsonObject): readonly string[] {
  return ['warnings', 'validation_findings', 'notes', 'health_issues'].flatMap((key) => namesIn(metadata, key));
}
