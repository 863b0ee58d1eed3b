/** What people and programs see: one JSON document on stdout, or text; everything else goes to stderr. */
import { ERROR_CODES, isCheckpointError, reportOf, type ErrorReport, type JsonObject } from '../../errors.ts';
import { WEIGHTS_ONLY } from '../../model/plan.ts';
import { formatBytes, formatCount } from '../../model/text.ts';
import { advise } from '../../pipeline/composition.ts';
import type { PipelineInput, PipelineProgress, PipelineResult } from '../../pipeline/contract.ts';
import { paintFor, type Color, type Paint } from './colors.ts';
import { errorsPage } from './manual.ts';
import { callerFolder } from './paths.ts';
import { retryingText, transferText } from './progress.ts';
import { inLines, oneLine, visible, visibleJson } from './visible.ts';
import { indented, widthOf } from './wrap.ts';

export interface OutputOptions {
  readonly json?: boolean;
  readonly debug?: boolean;
}

/** 2: what was asked is wrong; 1: it was right and failed. */
export function exitCodeOf(error: unknown): number {
  return isCheckpointError(error) && error.code === 'CheckpointConfigError' ? 2 : 1;
}

export function printJson(value: unknown): void {
  process.stdout.write(`${visibleJson(JSON.stringify(value, null, 2))}\n`);
}

/** A line, or several: whatever a file, a server or a user says in it stays in it, and is not painted. */
export function print(lines: string | readonly string[]): void {
  process.stdout.write(`${linesText(lines)}\n`);
}

/** A text with colours of ours and ends of lines, in which those of others were made visible before (`inLines`). */
export function printPainted(text: string): void {
  process.stdout.write(`${visible(text)}\n`);
}

/** What `print` is for stdout. */
export function note(lines: string | readonly string[]): void {
  process.stderr.write(`${linesText(lines)}\n`);
}

function linesText(lines: string | readonly string[]): string {
  return [lines].flat().map(oneLine).join('\n');
}

export function noteError(report: ErrorReport): void {
  process.stderr.write(`${visible(errorText(report))}\n`);
}

/** What is probably not meant, before it is run; `ckpt validate` also tells what is only worth knowing. */
export function noteWarnings({ stages }: PipelineInput): void {
  for (const { level, code, message } of advise(stages)) if (level === 'warning') note(`${level} ${code}: ${message}`);
}

export function logger(options: OutputOptions): (line: string) => void {
  return options.debug === true ? (line) => note(`debug: ${line}`) : () => undefined;
}

export function printError(error: unknown, options: OutputOptions): void {
  const report = reportOf(error);
  if (options.json === true) printJson({ error: report });
  else noteError(report);
  if (options.debug === true && error instanceof Error) note((error.stack ?? '').split('\n'));
}

export function errorText(given: ErrorReport, paint: Paint = paintFor(process.stderr)): string {
  const report = inLines(given);
  const stage = report.details['pipeline_stage'];
  const attempts = report.details['attempts'];
  const where =
    typeof stage === 'string'
      ? `\n  at ${stage}${typeof attempts === 'number' && attempts > 0 ? `, after ${formatCount(attempts, 'attempt')}` : ''}`
      : '';
  const suggestion = report.details['suggestion'];
  const next = typeof suggestion === 'string' ? `\n  ${suggestion}` : '';
  const errors = report.details['validation_errors'];
  const list = Array.isArray(errors)
    ? errors
        .slice(0, 10)
        .map((line) => `\n  - ${String(line)}`)
        .join('')
    : '';
  return `${paint('red', report.type)}: ${report.message}${list}${where}${next}\n  ${paint('dim', `(${entryOf(report.type)})`)}`;
}

/** Where the documentation tells what to do about an error. */
function entryOf(type: string): string {
  const code = (ERROR_CODES as readonly string[]).includes(type) ? type : 'CheckpointError';
  return `${errorsPage(callerFolder())}#${code.toLowerCase()}`;
}

const MARKS: Readonly<Record<string, string>> = {
  completed: '✔',
  failed: '✖',
  cancelled: '■',
  running: '▶',
  pending: '·',
  waiting: '?',
  skipped: '-',
};

const COLORS: Readonly<Record<string, Color>> = {
  completed: 'green',
  unchanged: 'green',
  failed: 'red',
  cancelled: 'yellow',
  waiting: 'yellow',
};

/** The stage table, how far the run is, what was published, what was left out and why, warnings, and the link. */
export function resultText(
  given: PipelineResult & Partial<PipelineProgress>,
  link: string | null,
  paint: Paint = paintFor(process.stdout),
  columns = widthOf(process.stdout),
): string {
  const result = inLines(given);
  const width = Math.max(5, ...result.stages.map(({ type }) => type.length));
  const rows = result.stages.map((s) =>
    `  ${paint(COLORS[s.status] ?? 'dim', MARKS[s.status] ?? '')} ${s.type.padEnd(width)}  ${s.status.padEnd(9)}  ${indented(s.error?.message ?? s.summary ?? '', width + 17, columns).trim()}`.trimEnd(),
  );
  const outputs = result.outputs.flatMap((o) => [
    '',
    `${paint('bold', o.unchanged ? 'Unchanged' : 'Published')}  ${o.uri}`,
    `  ${formatCount(o.tensors, 'tensor')}, ${formatBytes(o.size)}${o.size < 1024 ? '' : ` (${o.size} bytes)`}, ${o.format}`,
    ...(o.sha256 === undefined ? [] : [`  sha256 ${o.sha256}`]),
    `  manifest ${o.manifest}`,
    ...(o.report === undefined ? [] : [`  report ${o.report}`]),
  ]);
  // Their own ends of lines are blanks here.
  const { transfer, retrying } = given;
  const now = [...(transfer == null ? [] : [transferText(transfer)]), ...(retrying == null ? [] : [retryingText(retrying)])];
  const unreported = result.metadata['report_error'];
  return [
    `Pipeline ${result.workflow_id}: ${paint(COLORS[result.status] ?? 'bold', result.status)}`,
    ...rows,
    ...now.map((line) => indented(line, 2, columns)),
    ...outputs,
    ...(typeof unreported === 'string' ? [`  no report: ${unreported}`] : []),
    ...leftOutText(result.metadata, columns),
    ...warningsText(result.metadata, paint, columns),
    ...(link === null ? [] : ['', `Run in the Temporal UI: ${link}`]),
  ].join('\n');
}

/** Tensors and values that are not in the output; that a loader of weights keeps weights only, its own line has said. */
function leftOutText(metadata: JsonObject, columns: number): readonly string[] {
  const skipped = Object.entries((metadata['skipped_params'] ?? {}) as Readonly<Record<string, string>>).map(
    ([name, reason]) => `${name} (${reason})`,
  );
  const dropped = ((metadata['dropped'] ?? []) as readonly { readonly what: string; readonly reason: string }[])
    .filter(({ reason }) => reason !== WEIGHTS_ONLY)
    .map(({ what, reason }) => `${what} (${reason})`);
  const more = Number(metadata['num_skipped'] ?? 0) - skipped.length;
  if (more > 0) skipped.push(`and ${formatCount(more, 'tensor')} more, see the manifest`);
  const section = (title: string, lines: readonly string[]): readonly string[] =>
    lines.length === 0 ? [] : ['', title, ...lines.map((line) => indented(line, 2, columns))];
  // A target's own values may stand in the place of a tensor that was not taken.
  return [...section('Not taken from the source', skipped), ...section('Left out', dropped)];
}

function warningsText(metadata: JsonObject, paint: Paint, columns: number): readonly string[] {
  const warnings = (metadata['warnings'] ?? []) as readonly string[];
  return warnings.length === 0 ? [] : ['', paint('yellow', 'Warnings'), ...warnings.map((line) => indented(line, 2, columns))];
}
