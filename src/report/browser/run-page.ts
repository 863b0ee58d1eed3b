/** The report of a run, section by section. */
import type { Json } from '../../errors.ts';
import { formatBytes } from '../../model/text.ts';
import type { AttemptRecord, StageRecord } from '../../pipeline/contract.ts';
import { MARK, type LeftOutFacts, type Mark, type RunContents, type TensorColumns } from '../contents.ts';
import { code, disclosure, facts, h, plainTable, section } from './element.ts';
import { flow } from './flow.ts';
import { dataTable, type DataTable } from './table.ts';
import { between, formatDuration, formatTime, grouped } from './text.ts';
import { labelOf, timeline } from './timeline.ts';
import { MARK_SIGNS, treemap } from './treemap.ts';

const MARKS = Object.keys(MARK) as Mark[];

export function runSections(run: RunContents): readonly HTMLElement[] {
  const { tensors } = run;
  const table = tensors === null || tensors.name.length === 0 ? null : tensorTable(tensors);
  return [
    ...(run.error === null ? [] : [failure(run)]),
    ...(run.waiting === null
      ? []
      : [
          section(
            'waiting',
            'Waits for an answer',
            h(
              'p',
              {},
              `Since ${formatTime(run.waiting.since)}: stage ${run.waiting.stage.index + 1}, ${run.waiting.stage.type}: ${run.waiting.error.message}`,
            ),
            h('p', {}, 'Answer with ', code(`ckpt resolve ${run.workflowId} --retry`), ', ', code('--skip'), ' or ', code('--abort'), '.'),
          ),
        ]),
    ...(run.source === null && run.outputs.length === 0 ? [] : [section('flow', 'In and out', flow(run))]),
    section('stages', 'Stages', timeline(run.stages), stageTable(run.stages)),
    ...(tensors === null || table === null
      ? []
      : [
          section(
            'modules',
            run.tensorsAre === 'published' ? 'Tensors by module' : 'Tensors by module, as planned',
            treemap(tensors, (text) => table.filter(text)),
          ),
          section('tensors', 'Tensors', table.element),
        ]),
    ...(run.skipped.length + run.dropped.length === 0 ? [] : [leftOut(run)]),
    ...(run.source === null ? [] : [globals(run)]),
    ...digests(run),
    section('record', 'Record', ...record(run)),
  ];
}

function failure(run: RunContents): HTMLElement {
  const { error, stages } = run;
  const { type, message, details } = error!;
  const text = (key: string): string | null => (typeof details[key] === 'string' ? details[key] : null);
  const errors = Array.isArray(details['validation_errors']) ? (details['validation_errors'] as readonly Json[]) : [];
  const failed = stages.find(({ status }) => status === 'failed');
  const element = section(
    'failure',
    run.status === 'cancelled' ? 'Cancelled' : 'What failed',
    h('p', { class: 'message' }, ...(run.status === 'cancelled' ? [message] : [h('strong', {}, type), `: ${message}`])),
    errors.length === 0 ? null : h('ul', {}, ...errors.slice(0, 50).map((line) => h('li', {}, String(line)))),
    facts([
      ['where', text('pipeline_stage') ?? (failed === undefined ? null : labelOf(failed))],
      ['what to do', text('suggestion')],
    ]),
  );
  element.classList.add('failure');
  return element;
}

function stageTable(stages: readonly StageRecord[]): HTMLElement {
  const rows = stages.map((stage) => {
    const took = between(stage.started, stage.ended);
    const attempts = stage.tries.flatMap(({ attempts: listed }) => listed);
    return [
      h('span', { class: 'term' }, labelOf(stage)),
      h('span', { class: `badge is-${stage.status}` }, stage.status),
      took === null ? '–' : formatDuration(took),
      h('div', {}, stage.error?.message ?? stage.summary ?? '', attempts.length < 2 ? null : attemptList(attempts)),
    ];
  });
  return plainTable('Stages', ['stage', 'status', 'time', 'what it did'], rows, [2]);
}

function attemptList(attempts: readonly AttemptRecord[]): HTMLElement {
  return h(
    'ol',
    { class: 'attempts' },
    ...attempts.map(({ attempt, started, ended, outcome, error }) => {
      const took = between(started, ended);
      return h(
        'li',
        { value: attempt },
        `${outcome}${took === null ? '' : ` after ${formatDuration(took)}`}${error === null ? '' : `: ${error.type}: ${error.message}`}`,
      );
    }),
  );
}

function tensorTable(columns: TensorColumns): DataTable {
  const { name, dtype, shape, bytes, marks, notes, sha256 } = columns;
  const marksOf = (row: number): readonly Mark[] => MARKS.filter((mark) => (marks[row]! & MARK[mark]) !== 0);
  const dtypes = [...new Set(dtype.map((each) => each ?? 'unknown'))].sort();
  const present = MARKS.filter((mark) => marks.some((each) => (each & MARK[mark]) !== 0));
  return dataTable({
    id: 'tensor',
    noun: 'tensor',
    rows: name.length,
    search: (row) => name[row]!,
    searchTitle: 'name contains',
    choices: [
      { title: 'dtype', values: dtypes, of: (row, value) => (dtype[row] ?? 'unknown') === value },
      ...(present.length === 0
        ? []
        : [
            {
              title: 'mark',
              values: [...present, 'none'],
              of: (row: number, value: string) => (value === 'none' ? marks[row] === 0 : (marks[row]! & MARK[value as Mark]) !== 0),
            },
          ]),
    ],
    columns: [
      { title: 'name', text: (row) => name[row]! || '(empty name)' },
      { title: 'dtype', text: (row) => dtype[row] ?? '–', class: 'short' },
      { title: 'shape', text: (row) => shape[row] ?? '–' },
      { title: 'size', text: (row) => formatBytes(bytes[row]!), key: (row) => bytes[row]!, numeric: true },
      {
        title: 'marks',
        text: (row) =>
          [
            marksOf(row)
              .map((mark) => `${MARK_SIGNS[mark]} ${mark}`)
              .join(', '),
            notes[row] ?? '',
          ]
            .filter((each) => each !== '')
            .join(': '),
      },
      { title: 'SHA-256', text: (row) => sha256[row] ?? '–', class: 'digest' },
    ],
  });
}

/** Reasons with how often, then what was dropped one by one. */
function leftOut({ skipped, dropped }: RunContents): HTMLElement {
  const reasons = new Map<string, LeftOutFacts[]>();
  for (const each of skipped) {
    const known = reasons.get(each.reason);
    if (known === undefined) reasons.set(each.reason, [each]);
    else known.push(each);
  }
  const examples = (list: readonly LeftOutFacts[]): string =>
    `${list
      .slice(0, 3)
      .map(({ what }) => what)
      .join(', ')}${list.length > 3 ? ' …' : ''}`;
  return section(
    'left-out',
    'Left out',
    skipped.length === 0
      ? null
      : h(
          'div',
          {},
          h('h3', {}, `Skipped tensors (${grouped(skipped.length)})`),
          plainTable(
            'Skipped tensors by reason',
            ['reason', 'tensors', 'such as'],
            [...reasons].map(([reason, list]) => [reason, grouped(list.length), examples(list)]),
            [1],
          ),
        ),
    dropped.length === 0
      ? null
      : h(
          'div',
          {},
          h('h3', {}, `Dropped content (${grouped(dropped.length)})`),
          plainTable(
            'Dropped content',
            ['what', 'reason'],
            dropped.slice(0, 500).map(({ what, reason, details }) => [what, `${reason}${details === null ? '' : ` ${details}`}`]),
          ),
        ),
    dropped.length > 500 ? h('p', {}, `${grouped(dropped.length - 500)} more are in the manifest.`) : null,
  );
}

const VERDICTS = { safe: '✔ safe', unknown: '? unknown', dangerous: '✖ dangerous' } as const;

function globals({ globals: found, source }: RunContents): HTMLElement {
  const none =
    source!.container === 'safetensors' ? 'This format names no classes or functions.' : 'The file names no classes or functions.';
  return section(
    'globals',
    'Globals seen',
    h('p', {}, found.length === 0 ? none : 'Classes and functions that the pickles in the file name. None was imported or called.'),
    found.length === 0
      ? null
      : plainTable(
          'Globals seen',
          ['verdict', 'name', 'uses', 'first in'],
          found.map(({ verdict, name, uses, member }) => [
            h('span', { class: `verdict is-${verdict}` }, VERDICTS[verdict]),
            code(name),
            grouped(uses),
            member,
          ]),
          [2],
        ),
  );
}

function digests({ source, outputs }: RunContents): readonly HTMLElement[] {
  const pinned = (source?.files ?? []).slice(0, 100).map(({ uri, size, identity }) => [uri, `${grouped(size)} bytes`, code(identity)]);
  const made = outputs.map(({ uri, size, sha256 }) => [
    uri,
    `${grouped(size)} bytes`,
    code(sha256 === undefined ? 'none: a store copied bytes itself' : `sha256 ${sha256}`),
  ]);
  if (pinned.length + made.length === 0) return [];
  return [
    section(
      'digests',
      'Digests',
      plainTable(
        'Digests of outputs, and what pins the source',
        ['file', 'size', 'SHA-256, or what pins this version'],
        [...made, ...pinned],
        [1],
      ),
    ),
  ];
}

function record({ warnings, document, metadata, source }: RunContents): readonly HTMLElement[] {
  const findings = [
    ...warnings,
    ...(source?.findings ?? []).map(({ message, member }) => (member === undefined ? message : `${member}: ${message}`)),
  ];
  return [
    ...(findings.length === 0 ? [] : [h('h3', {}, 'Warnings'), h('ul', {}, ...findings.slice(0, 200).map((line) => h('li', {}, line)))]),
    ...(document === null ? [] : [disclosure('Pipeline document', json(document, 'Pipeline document'))]),
    disclosure('Metadata of the run', json(metadata, 'Metadata of the run')),
  ];
}

export function json(value: Json, label: string): HTMLElement {
  return h('pre', { tabindex: 0, role: 'region', 'aria-label': label }, JSON.stringify(value, null, 2));
}
