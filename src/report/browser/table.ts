/**
 * A table that stays quick at 100,000 rows: sorted and filtered as lists of row numbers, and of its rows only those in sight
 * are in the document. `aria-rowcount` and `aria-rowindex` tell the rest; the window scrolls by keyboard as any scrolled region.
 */
import { h } from './element.ts';
import { counted, grouped } from './text.ts';

/** Pixels of a row, as in page.css. */
const ROW = 30;
/** Rows beyond the edges of the window, and rows that paper gets. */
const MARGIN = 12;
const ON_PAPER = 1000;

export interface Column {
  readonly title: string;
  readonly text: (row: number) => string;
  /** What it is sorted by; default: the text. */
  readonly key?: (row: number) => string | number;
  readonly numeric?: boolean;
  /** Class of its cells. */
  readonly class?: string;
}

export interface Choice {
  readonly title: string;
  readonly values: readonly string[];
  readonly of: (row: number, value: string) => boolean;
}

export interface TableOptions {
  readonly id: string;
  /** What a row is: `tensor`. */
  readonly noun: string;
  readonly rows: number;
  readonly columns: readonly Column[];
  /** What the text filter looks in. */
  readonly search: (row: number) => string;
  readonly searchTitle: string;
  readonly choices: readonly Choice[];
}

export interface DataTable {
  readonly element: HTMLElement;
  /** Sets the text filter, and brings the table into sight. */
  filter(text: string): void;
}

export function dataTable({ id, noun, rows, columns, search, searchTitle, choices }: TableOptions): DataTable {
  let order = Array.from({ length: rows }, (_, row) => row);
  let sorted: { readonly column: number; readonly down: boolean } | null = null;
  const field = h('input', { type: 'search', id: `${id}-filter`, autocomplete: 'off', spellcheck: 'false', 'aria-controls': `${id}-rows` });
  const selects = choices.map(({ title, values }) =>
    h('select', { id: `${id}-${title}` }, h('option', { value: '' }, 'all'), ...values.map((value) => h('option', { value }, value))),
  );
  const status = h('output', { class: 'count', 'aria-live': 'polite' });
  const heads = columns.map(({ title, numeric = false }, column) => {
    const button = h('button', { type: 'button' }, title, h('span', { class: 'arrow', 'aria-hidden': 'true' }));
    button.addEventListener('click', () => sort(column));
    return h('th', { scope: 'col', 'aria-sort': 'none', class: numeric ? 'number' : null }, button);
  });
  const body = h('tbody', { id: `${id}-rows` });
  const table = h(
    'table',
    { class: `data ${id}` },
    h('caption', { class: 'hidden' }, `${noun}s; the buttons in the head sort them`),
    h('thead', {}, h('tr', { 'aria-rowindex': 1 }, ...heads)),
    body,
  );
  const region = h('div', { class: 'window', role: 'region', tabindex: 0, 'aria-label': `Table of ${noun}s` }, table);

  function sort(column: number): void {
    const down = sorted?.column === column ? !sorted.down : columns[column]!.numeric === true;
    sorted = { column, down };
    for (const [index, head] of heads.entries())
      head.setAttribute('aria-sort', index !== column ? 'none' : down ? 'descending' : 'ascending');
    refresh();
  }

  function refresh(): void {
    const words = field.value
      .toLowerCase()
      .split(/\s+/)
      .filter((word) => word !== '');
    const chosen = choices.flatMap(({ of }, index) =>
      selects[index]!.value === '' ? [] : [(row: number) => of(row, selects[index]!.value)],
    );
    order = [];
    for (let row = 0; row < rows; row++) {
      if (!chosen.every((fits) => fits(row))) continue;
      const text = words.length === 0 ? '' : search(row).toLowerCase();
      if (words.every((word) => text.includes(word))) order.push(row);
    }
    if (sorted !== null) order = inOrder(order, columns[sorted.column]!, sorted.down);
    status.textContent = order.length === rows ? counted(rows, noun) : `${grouped(order.length)} of ${counted(rows, noun)}`;
    table.setAttribute('aria-rowcount', String(order.length + 1));
    region.scrollTop = 0;
    draw(false);
  }

  function draw(onPaper: boolean): void {
    const first = onPaper ? 0 : Math.max(0, Math.floor(region.scrollTop / ROW) - MARGIN);
    const last = onPaper
      ? Math.min(order.length, ON_PAPER)
      : Math.min(order.length, first + Math.ceil(region.clientHeight / ROW) + 2 * MARGIN);
    const drawn = order.slice(first, last).map((row, place) => rowOf(row, first + place));
    body.replaceChildren(
      space(first),
      ...drawn,
      space(onPaper ? 0 : order.length - last),
      ...(onPaper && last < order.length ? [rest(order.length - last)] : []),
    );
  }

  function rowOf(row: number, place: number): HTMLElement {
    const cells = columns.map(({ text, numeric = false, class: name }, column) => {
      const content = text(row);
      const classes = [...(numeric ? ['number'] : []), ...(name === undefined ? [] : [name])].join(' ');
      const attributes = { class: classes === '' ? null : classes, title: content.length > 12 ? content : null };
      return column === 0 ? h('th', { scope: 'row', ...attributes }, content) : h('td', attributes, content);
    });
    return h('tr', { 'aria-rowindex': place + 2, class: place % 2 === 1 ? 'odd' : null }, ...cells);
  }

  function space(count: number): HTMLElement {
    const cell = h('td', { colspan: columns.length });
    cell.style.height = `${count * ROW}px`;
    const row = h('tr', { 'aria-hidden': 'true', class: 'space' }, cell);
    row.hidden = count === 0;
    return row;
  }

  function rest(count: number): HTMLElement {
    return h('tr', {}, h('td', { colspan: columns.length }, `… and ${grouped(count)} more: filter before printing, or see the manifest.`));
  }

  let waiting = false;
  const soon = (): void => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw(false);
    });
  };
  region.addEventListener('scroll', soon, { passive: true });
  new ResizeObserver(soon).observe(region);
  field.addEventListener('input', refresh);
  for (const select of selects) select.addEventListener('change', refresh);
  addEventListener('beforeprint', () => draw(true));
  addEventListener('afterprint', () => draw(false));
  refresh();

  const element = h(
    'div',
    {},
    h(
      'div',
      { class: 'filters', role: 'search', 'aria-label': `Filter ${noun}s` },
      h('label', { for: field.id }, searchTitle, field),
      ...choices.map(({ title }, index) => h('label', { for: selects[index]!.id }, title, selects[index]!)),
      status,
    ),
    region,
  );
  return {
    element,
    filter(text) {
      field.value = text;
      for (const select of selects) select.value = '';
      refresh();
      element.scrollIntoView({ block: 'start' });
      field.focus({ preventScroll: true });
    },
  };
}

/** Keys are made once; equal ones keep the order of the file. */
function inOrder(order: readonly number[], { key, text }: Column, down: boolean): number[] {
  const keys = new Map(order.map((row) => [row, key?.(row) ?? natural(text(row))]));
  const sign = down ? -1 : 1;
  return [...order].sort((a, b) => {
    const [x, y] = [keys.get(a)!, keys.get(b)!];
    return x < y ? -sign : x > y ? sign : a - b;
  });
}

/** `layers.2` before `layers.10`. */
function natural(text: string): string {
  return text.replaceAll(/\d+/g, (digits) => digits.padStart(12, '0'));
}
