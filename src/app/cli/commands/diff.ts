/** `ckpt diff`: what two checkpoints' weights have not in common; exit 1 where there is anything. */
import type { Attribute, Header } from '../../../model/header.ts';
import { formatCount } from '../../../model/text.ts';
import { compareWeights } from '../../../transform/compare-weights.ts';
import { nonTensorText, notWeights } from '../../../transform/left-out.ts';
import { digestsOf, readCheckpoint } from '../checkpoint.ts';
import { print, printJson, type OutputOptions } from '../output.ts';

/** Names of a kind that are shown; `--json` has all. */
const MOST_ROWS = 20;

interface DiffOptions extends OutputOptions {
  readonly values?: boolean;
  readonly stateDictKey?: string;
  readonly targetStateDictKey?: string;
}

export async function diff(source: string, target: string, options: DiffOptions): Promise<void> {
  const [ours, theirs] = [await readCheckpoint(source, options.stateDictKey), await readCheckpoint(target, options.targetStateDictKey)];
  const { alike, ...compared } = compareWeights(ours.header, theirs.header);
  let differing: readonly string[] | null = null;
  if (options.values === true) {
    const mine = await digestsOf(
      ours.header,
      alike.map(({ name, source: tensor }) => ({ name, tensor })),
    );
    const other = await digestsOf(
      theirs.header,
      alike.map(({ name, target: tensor }) => ({ name, tensor })),
    );
    differing = alike.filter((_, index) => mine[index] !== other[index]).map(({ name }) => name);
  }
  const report = {
    source: ours.name,
    target: theirs.name,
    equal: Object.values(compared).every(({ length }) => length === 0) && (differing?.length ?? 0) === 0,
    missing_keys: compared.missing,
    unexpected_keys: compared.unexpected,
    shape_mismatches: compared.shapes,
    dtype_mismatches: compared.dtypes,
    /** Null: values were not looked at. */
    value_mismatches: differing,
    unsupported: compared.unsupported,
    compared: alike.length,
    /** Values of either state dict that are not tensors and hold some, and attributes that do: those were not compared. */
    left_out: [...leftOut('source', ours.header), ...leftOut('target', theirs.header)],
  };
  if (options.json === true) printJson(report);
  else print(linesOf(report));
  process.exitCode = report.equal ? 0 : 1;
}

/** A value of a state dict that is not a tensor and holds some, or an attribute that does. */
interface LeftOut extends Attribute {
  readonly of: 'source' | 'target';
}

function leftOut(of: LeftOut['of'], header: Header): readonly LeftOut[] {
  return notWeights(header).map((each) => ({ of, ...each }));
}

interface Report {
  readonly source: string;
  readonly target: string;
  readonly equal: boolean;
  readonly missing_keys: readonly string[];
  readonly unexpected_keys: readonly string[];
  readonly shape_mismatches: readonly { readonly name: string; readonly source: readonly number[]; readonly target: readonly number[] }[];
  readonly dtype_mismatches: readonly { readonly name: string; readonly source: string; readonly target: string }[];
  readonly value_mismatches: readonly string[] | null;
  readonly unsupported: readonly string[];
  readonly compared: number;
  readonly left_out: readonly LeftOut[];
}

function linesOf(report: Report): readonly string[] {
  const values = report.value_mismatches;
  return [
    report.source,
    report.target,
    ...listed('only in the second (missing)', report.missing_keys),
    ...listed('only in the first (unexpected)', report.unexpected_keys),
    ...listed(
      'of another shape',
      report.shape_mismatches.map(({ name, source, target }) => `${name}: [${source.join(', ')}] and [${target.join(', ')}]`),
    ),
    ...listed(
      'of another dtype',
      report.dtype_mismatches.map(({ name, source, target }) => `${name}: ${source} and ${target}`),
    ),
    ...listed('of other values', values ?? []),
    ...listed('without a dense form, not compared', report.unsupported),
    ...listed(
      'that are not tensors and hold some, not compared',
      report.left_out.map((each) => `in the ${each.of === 'source' ? 'first' : 'second'}: ${nonTensorText(each)}`),
    ),
    report.equal
      ? `  ${formatCount(report.compared, 'tensor')} of equal name, shape and dtype${values === null ? '; --values compares their bytes' : ', and equal bytes'}`
      : `  ${formatCount(report.compared - (values?.length ?? 0), 'tensor')} alike`,
  ];
}

function listed(title: string, names: readonly string[]): readonly string[] {
  if (names.length === 0) return [];
  const rest = names.length - MOST_ROWS;
  return [
    `  ${names.length} ${title}:`,
    ...names.slice(0, MOST_ROWS).map((name) => `    ${name}`),
    ...(rest > 0 ? [`    … and ${rest} more (--json has all)`] : []),
  ];
}
