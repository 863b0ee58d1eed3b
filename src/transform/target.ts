/** A target out of a checkpoint's header or out of a JSON spec `{name: {shape, dtype}}`; everything is checked here. */
import { CheckpointConfigError, CheckpointValidationError } from '../errors.ts';
import { dtypeNamed, elementCount } from '../model/dtype.ts';
import { DTYPES } from '../model/dtype.ts';
import type { Header } from '../model/header.ts';
import { didYouMean } from '../model/suggestions.ts';
import type { Target, TargetTensor } from '../model/target.ts';
import { ended } from '../model/text.ts';

/** torch itself stops at 64 dimensions. */
const MAX_DIMENSIONS = 64;
/** More tensors than any known model has, by an order of magnitude. */
const MAX_TENSORS = 2_000_000;

/** The state dict of a checkpoint as a target; training state and non-tensors are not part of it. */
export function targetOfHeader(header: Header, uri: string): Target {
  const marked = header.weights.some(({ tensor }) => header.tensors[tensor]!.parameter === true);
  const tensors = header.weights.map(({ name, tensor }): TargetTensor => {
    const origin = header.tensors[tensor]!;
    return {
      name,
      dtype: origin.dtype,
      shape: origin.shape,
      ...(origin.unsupported === undefined ? { origin } : {}),
      ...(marked ? { buffer: origin.parameter !== true } : {}),
    };
  });
  return { uri, kind: 'checkpoint', files: header.files, storages: header.storages, tensors };
}

/** A spec from a file (`where` is its URI) or from the document itself (`where` is its configuration path). */
export function targetOfSpec(spec: unknown, where: { readonly uri: string } | { readonly configPath: string }): Target {
  const place = 'uri' in where ? where.uri : where.configPath;
  const bad = (what: string, at = ''): Error =>
    'uri' in where
      ? new CheckpointValidationError(
          `${place} is not a target spec: ${ended(what)} Expected {"name": {"shape": [2, 3], "dtype": "F32"}}.`,
          [what],
        )
      : new CheckpointConfigError(`The target spec: ${ended(what)} Expected {name: {shape: [2, 3], dtype: F32}}.`, `${place}${at}`);
  if (typeof spec !== 'object' || spec === null || Array.isArray(spec)) throw bad('it is not a mapping of names');
  const entries = Object.entries(spec).filter(([name]) => name !== '__metadata__');
  if (entries.length === 0) throw bad('it names no tensor');
  if (entries.length > MAX_TENSORS) throw bad(`it names ${entries.length} tensors; the limit is ${MAX_TENSORS}`);
  const tensors = entries.map(([name, value]: [string, unknown]): TargetTensor => {
    const shown = JSON.stringify(name.slice(0, 200));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(`${shown} is not a {shape, dtype}`, `.${name}`);
    const { shape, dtype, buffer } = value as { shape?: unknown; dtype?: unknown; buffer?: unknown };
    if (!Array.isArray(shape) || shape.length > MAX_DIMENSIONS || !shape.every(isSize))
      throw bad(`the shape of ${shown} is not a list of at most ${MAX_DIMENSIONS} sizes`, `.${name}.shape`);
    if (!Number.isSafeInteger(elementCount(shape) * 16)) throw bad(`the shape of ${shown} is beyond any memory`, `.${name}.shape`);
    const known = typeof dtype === 'string' ? dtypeNamed(dtype) : undefined;
    if (known === undefined)
      throw bad(
        `the dtype of ${shown} is ${JSON.stringify(dtype)?.slice(0, 50) ?? 'missing'}${typeof dtype === 'string' ? `.${didYouMean(dtype.slice(0, 50), Object.keys(DTYPES))}` : ''}`,
        `.${name}.dtype`,
      );
    if (buffer !== undefined && typeof buffer !== 'boolean')
      throw bad(`\`buffer\` of ${shown} is neither true nor false`, `.${name}.buffer`);
    return { name, dtype: known, shape, ...(buffer === undefined ? {} : { buffer }) };
  });
  return { uri: 'uri' in where ? where.uri : null, kind: 'spec', files: [], storages: [], tensors };
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
