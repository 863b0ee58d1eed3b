/** The report of a batch, section by section. */
import { axisX, barX, gridY, lineY, plot, rectY, ruleY, text } from '@observablehq/plot';
import type { ItemStatus, OutcomeStatus } from '../../pipeline/batch.ts';
import type { BatchContents, OutcomeColumns } from '../contents.ts';
import { disclosure, facts, figure, h, plainTable, section, WIDTH } from './element.ts';
import { json } from './run-page.ts';
import { dataTable } from './table.ts';
import { formatDuration, formatShare, formatTime, grouped } from './text.ts';

const STATUSES: readonly OutcomeStatus[] = ['completed', 'unchanged', 'failed', 'cancelled'];
/** In the table of items. */
const ITEM_STATUSES: readonly ItemStatus[] = [...STATUSES, 'not_started'];
const SIGNS = { completed: '✔', unchanged: '=', failed: '✖', cancelled: '■', not_started: '·' } as const;
const COLOURS = { completed: 'var(--good)', unchanged: 'var(--busy)', failed: 'var(--bad)', cancelled: 'var(--odd)' } as const;
const INTERVALS = 48;

export function batchSections(batch: BatchContents): readonly HTMLElement[] {
  const { result, items, document } = batch;
  return [
    ...(result.error === null ? [] : [failure(batch)]),
    section('outcomes', 'Outcomes', totals(batch), items === null ? null : overTime(batch, items)),
    ...(Object.keys(result.failures_by_code).length === 0
      ? []
      : [section('failures', 'Failures by code', byCode(result.failures_by_code))]),
    ...(items === null
      ? [
          section(
            'last-failures',
            'Last failures',
            plainTable(
              'Last failures',
              ['item', 'code', 'message'],
              result.failures.map(({ item, code, message }) => [item, code, message]),
            ),
          ),
        ]
      : [section('items', 'Items', itemTable(items))]),
    ...(document === null ? [] : [section('record', 'Record', disclosure('Batch document', json(document, 'Batch document')))]),
  ];
}

function failure({ result }: BatchContents): HTMLElement {
  const element = section(
    'failure',
    'What failed',
    h('p', { class: 'message' }, h('strong', {}, result.error!.type), `: ${result.error!.message}`),
  );
  element.classList.add('failure');
  return element;
}

function totals({ result, started, ended }: BatchContents): HTMLElement {
  const took = started === null || ended === null ? null : Date.parse(ended) - Date.parse(started);
  const done = result.completed + result.unchanged + result.failed + result.cancelled;
  return facts([
    ['items', `${grouped(done)} of ${grouped(result.total)} ended`],
    ...STATUSES.map(
      (status) => [`${SIGNS[status]} ${status}`, `${grouped(result[status])}, ${formatShare(result[status], result.total)}`] as const,
    ),
    ['running', result.running === 0 ? null : grouped(result.running)],
    [
      'throughput',
      took === null || took === 0
        ? result.rate === null
          ? null
          : `${result.rate} items/s`
        : `${Number(((done / took) * 1000).toPrecision(3))} items/s over ${formatDuration(took)}`,
    ],
    ['results', result.results],
  ]);
}

/** Outcomes per interval, and how many had ended by when. */
function overTime({ started }: BatchContents, items: OutcomeColumns): HTMLElement {
  const times = items.ended.flatMap((iso, row) => {
    const status = items.status[row]!;
    return iso === null || status === 'not_started' ? [] : [{ time: Date.parse(iso), status }];
  });
  if (times.length === 0) return h('p', {}, 'The results do not say when each item ended, so there is nothing to draw over time.');
  times.sort((a, b) => a.time - b.time);
  const zero = Math.min(started === null ? Infinity : Date.parse(started), times[0]!.time);
  const end = Math.max(1, times.at(-1)!.time - zero);
  const step = end / INTERVALS;
  const counts = new Map<string, { from: number; status: OutcomeStatus; count: number }>();
  for (const { time, status } of times) {
    const interval = Math.min(INTERVALS - 1, Math.floor((time - zero) / step));
    const key = `${interval} ${status}`;
    const known = counts.get(key);
    if (known === undefined) counts.set(key, { from: interval * step, status, count: 1 });
    else known.count++;
  }
  const bars = [...counts.values()];
  const present = STATUSES.filter((status) => bars.some((bar) => bar.status === status));
  const sampled = times.filter((_, index) => index === times.length - 1 || index % Math.ceil(times.length / 500) === 0);
  const sofar = sampled.map(({ time }, index) => ({
    at: time - zero,
    count: index === sampled.length - 1 ? times.length : index * Math.ceil(times.length / 500) + 1,
  }));
  const stacks = new Map<number, number>();
  for (const { from, count } of bars) stacks.set(from, (stacks.get(from) ?? 0) + count);
  // There is no half of an item.
  const wholeTicks = (most: number): number => Math.min(5, most);
  const common = { width: WIDTH, marginLeft: 60, marginBottom: 42, style: { fontSize: '13px' } } as const;
  const axis = axisX({ tickFormat: (value: number) => formatDuration(value), ticks: 8, label: 'since the start' });
  const each = plot({
    ...common,
    height: 240,
    x: { domain: [0, end] },
    y: { label: `items in ${formatDuration(step)}`, nice: true, ticks: wholeTicks(Math.max(...stacks.values())) },
    color: { domain: present, range: present.map((status) => COLOURS[status]) },
    marks: [
      gridY({ strokeOpacity: 0.12 }),
      rectY(bars, {
        x1: 'from',
        x2: (bar: { from: number }) => bar.from + step,
        y: 'count',
        fill: 'status',
        inset: 0.5,
        order: [...STATUSES],
      }),
      axis,
      ruleY([0]),
    ],
  });
  const line = plot({
    ...common,
    height: 180,
    x: { domain: [0, end] },
    y: { label: 'items ended', nice: true, ticks: wholeTicks(times.length) },
    marks: [
      gridY({ strokeOpacity: 0.12 }),
      lineY([{ at: 0, count: 0 }, ...sofar], { x: 'at', y: 'count', stroke: 'var(--busy)', strokeWidth: 2, curve: 'step-after' }),
      axis,
      ruleY([0]),
    ],
  });
  const legend = h(
    'ul',
    { class: 'legend', 'aria-label': 'Outcomes' },
    ...present.map((status) => {
      const swatch = h('span', { class: 'swatch', 'aria-hidden': 'true' }, SIGNS[status]);
      swatch.style.backgroundColor = COLOURS[status];
      return h('li', {}, swatch, status);
    }),
  );
  const intervals = [...new Set(bars.map(({ from }) => from))].sort((a, b) => a - b);
  const rows = intervals.map((from) => [
    formatDuration(from),
    ...STATUSES.map((status) => grouped(counts.get(`${Math.round(from / step)} ${status}`)?.count ?? 0)),
  ]);
  return h(
    'div',
    {},
    h('h3', {}, 'Outcomes over time'),
    figure(
      `Outcomes in intervals of ${formatDuration(step)}: ${present.map((status) => `${grouped(items.status.filter((one) => one === status).length)} ${status}`).join(', ')}. The table below has all intervals.`,
      each,
      legend,
    ),
    h('h3', {}, 'Throughput'),
    figure(`Items ended by time: ${grouped(times.length)} in ${formatDuration(end)}.`, line),
    disclosure('Intervals as a table', plainTable('Outcomes by interval', ['from', ...STATUSES], rows, [0, 1, 2, 3, 4])),
  );
}

function byCode(codes: Readonly<Record<string, number>>): HTMLElement {
  const rows = Object.entries(codes)
    .sort(([, a], [, b]) => b - a)
    .map(([code, count]) => ({ code, count }));
  const drawing = plot({
    width: WIDTH,
    height: 8 + rows.length * 32,
    marginLeft: 20 + Math.min(360, Math.max(...rows.map(({ code }) => code.length)) * 7.6),
    marginRight: 60,
    x: { axis: null },
    y: { domain: rows.map(({ code }) => code), label: null, tickSize: 0 },
    style: { fontSize: '13px' },
    marginTop: 4,
    marginBottom: 4,
    marks: [
      barX(rows, { y: 'code', x: 'count', fill: 'var(--bad)' }),
      text(rows, {
        y: 'code',
        x: 'count',
        text: ({ count }: { count: number }) => grouped(count),
        textAnchor: 'start',
        dx: 6,
        fill: 'currentColor',
      }),
    ],
  });
  return figure(`Failures by code: ${rows.map(({ code, count }) => `${code} ${grouped(count)}`).join(', ')}`, drawing);
}

function itemTable({ item, status, ended, code, message, output, workflowId }: OutcomeColumns): HTMLElement {
  const codes = [...new Set(Object.values(code))].sort();
  return dataTable({
    id: 'item',
    noun: 'item',
    rows: item.length,
    search: (row) => `${item[row]!} ${message[row] ?? ''}`,
    searchTitle: 'item or message contains',
    choices: [
      { title: 'status', values: ITEM_STATUSES.filter((one) => status.includes(one)), of: (row, value) => status[row] === value },
      ...(codes.length === 0 ? [] : [{ title: 'code', values: codes, of: (row: number, value: string) => code[row] === value }]),
    ],
    columns: [
      { title: 'item', text: (row) => item[row]! },
      { title: 'status', text: (row) => `${SIGNS[status[row]!]} ${status[row]!}`, class: 'short' },
      { title: 'ended (UTC)', text: (row) => formatTime(ended[row]!).replace(' UTC', '') },
      { title: 'code', text: (row) => code[row] ?? '' },
      { title: 'output or message', text: (row) => message[row] ?? output[row] ?? '' },
      { title: 'workflow', text: (row) => workflowId[row]!, class: 'digest' },
    ],
  }).element;
}
