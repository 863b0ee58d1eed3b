/**
 * Tensors by module as nested rectangles, one of which is a button: it opens a module, or shows a tensor in the table.
 *
 * One cell is in the order of the Tab key; arrow keys go from there, Enter opens, Escape goes up. The same is below as a table.
 */
import { hierarchy, treemap as layoutTreemap, type HierarchyRectangularNode } from 'd3-hierarchy';
import { formatBytes } from '../../model/text.ts';
import type { Mark, TensorColumns } from '../contents.ts';
import { dtypeColour } from './dtypes.ts';
import { disclosure, h, plainTable } from './element.ts';
import { moduleTree, shownParts, type ModuleNode, type Shown } from './modules.ts';
import { formatShare, grouped } from './text.ts';

const HEIGHT = 440;
const TITLE = 19;
const MOST_CELLS = 400;
const MOST_ROWS = 100;

export const MARK_SIGNS: Readonly<Record<Mark, string>> = { skipped: '✂', filled: '+', frozen: '❄', cast: '⇄' };
const MARK_WORDS: Readonly<Record<Mark, string>> = {
  skipped: 'skipped: not published',
  filled: "filled from the target's own values",
  frozen: 'frozen',
  cast: 'cast to another dtype',
};

export function treemap(columns: TensorColumns, showInTable: (filter: string) => void): HTMLElement {
  const root = moduleTree(columns);
  let focus = root;
  let lit: string | null = null;
  const trail = h('nav', { 'aria-label': 'Module', class: 'trail' });
  const map = h('div', {
    class: 'treemap',
    role: 'group',
    'aria-label':
      'Treemap of tensors by module, by bytes. Arrow keys go from cell to cell, Enter opens a module or shows a tensor in the table, Escape goes up.',
  });
  map.style.height = `${HEIGHT}px`;
  const said = h('p', { class: 'said' }, ' ');
  const words = disclosure('Modules as a table');
  const legend = h('div', { class: 'legend', role: 'group', 'aria-label': 'Dtypes: press one to pick out its tensors' });

  const open = (node: ModuleNode, focused: boolean): void => {
    focus = node;
    draw();
    if (focused) map.querySelector('button')?.focus();
  };
  const ancestors = (): readonly ModuleNode[] => {
    const path: ModuleNode[] = [root];
    // By their paths: the dots of names that were left in one piece lead nowhere else.
    while (path.at(-1) !== focus) {
      const next = [...path.at(-1)!.children.values()].find(
        (child) => child.row === null && (child === focus || focus.path.startsWith(`${child.path}.`)),
      );
      if (next === undefined) break;
      path.push(next);
    }
    return path;
  };
  const parent = (): ModuleNode => ancestors().at(-2) ?? root;

  function draw(): void {
    const path = ancestors();
    trail.replaceChildren(
      ...path.map((node, index) => {
        const name = node === root ? 'all tensors' : node.name;
        if (index === path.length - 1) return h('span', { 'aria-current': 'true' }, name);
        const button = h('button', { type: 'button' }, name);
        button.addEventListener('click', () => open(node, false));
        return h('span', {}, button, ' › ');
      }),
      ...(focus === root ? [] : [inTableButton()]),
    );
    const cells = layout(shownParts(focus, MOST_CELLS), Math.max(280, map.clientWidth));
    map.replaceChildren(...cells.map((cell) => cellOf(cell)));
    map.querySelector('button')?.setAttribute('tabindex', '0');
    words.replaceChildren(words.firstElementChild!, modulesTable(focus));
    light();
  }

  function inTableButton(): HTMLElement {
    const button = h('button', { type: 'button', class: 'aside' }, 'Show these in the table');
    button.addEventListener('click', () => showInTable(`${focus.path}.`));
    return button;
  }

  function cellOf({ x0, y0, x1, y1, data, depth, children }: HierarchyRectangularNode<Shown>): HTMLElement {
    const { node, label } = data;
    const text = describe(node, root.bytes);
    const cell = h('button', { type: 'button', tabindex: -1, title: text, 'data-dtypes': [...node.byDtype.keys()].join(' ') });
    Object.assign(cell.style, { left: `${x0}px`, top: `${y0}px`, width: `${x1 - x0}px`, height: `${y1 - y0}px` });
    cell.className = [
      children === undefined ? 'cell' : 'frame',
      `deep${depth}`,
      ...marksOf(node)
        .filter((mark) => node.marks[mark] === node.tensors)
        .map((mark) => `is-${mark}`),
    ].join(' ');
    if (children === undefined && node.marks.skipped < node.tensors) cell.style.backgroundColor = dtypeColour(largest(node));
    if (children === undefined && node.byDtype.size > 1) cell.style.backgroundImage = bands(node);
    // Casts are too common to be worth a sign; the colour says what came of them.
    const signs = marksOf(node).flatMap((mark) => (mark === 'cast' ? [] : [MARK_SIGNS[mark]]));
    const wide = x1 - x0 > 34 && y1 - y0 > 15;
    cell.append(h('span', { class: 'hidden' }, text));
    if (wide) cell.append(h('span', { class: 'name', 'aria-hidden': 'true' }, [...signs, label].join(' ')));
    if (wide && children === undefined && y1 - y0 > 32)
      cell.append(
        h('span', { class: 'more', 'aria-hidden': 'true' }, `${[...node.byDtype.keys()].join(', ')} · ${formatBytes(node.bytes)}`),
      );
    cell.addEventListener('click', () => (node.row === null ? open(node, true) : showInTable(node.path)));
    const say = (): void => void (said.textContent = text);
    cell.addEventListener('focus', say);
    cell.addEventListener('mouseenter', say);
    return cell;
  }

  map.addEventListener('keydown', (event) => {
    const buttons = [...map.querySelectorAll('button')];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const to: Readonly<Record<string, number>> = {
      ArrowRight: at + 1,
      ArrowDown: at + 1,
      ArrowLeft: at - 1,
      ArrowUp: at - 1,
      Home: 0,
      End: buttons.length - 1,
    };
    if (event.key === 'Escape' && focus !== root) open(parent(), true);
    else if (event.key in to) {
      const next = buttons[Math.max(0, Math.min(buttons.length - 1, to[event.key]!))];
      buttons[at]?.setAttribute('tabindex', '-1');
      next?.setAttribute('tabindex', '0');
      next?.focus();
    } else return;
    event.preventDefault();
  });

  function light(): void {
    for (const cell of map.querySelectorAll<HTMLElement>('.cell'))
      cell.classList.toggle('dim', lit !== null && !(cell.dataset['dtypes'] ?? '').split(' ').includes(lit));
    for (const button of legend.querySelectorAll('button')) button.setAttribute('aria-pressed', String(button.dataset['dtype'] === lit));
  }

  legend.append(
    ...[...root.byDtype]
      .sort(([, a], [, b]) => b - a)
      .map(([dtype, bytes]) => {
        const swatch = h('span', { class: 'swatch', 'aria-hidden': 'true' });
        swatch.style.backgroundColor = dtypeColour(dtype);
        const button = h(
          'button',
          { type: 'button', 'data-dtype': dtype, 'aria-pressed': 'false' },
          swatch,
          h('b', {}, dtype),
          ` ${formatBytes(bytes)}, ${formatShare(bytes, root.bytes)}`,
        );
        button.addEventListener('click', () => {
          lit = lit === dtype ? null : dtype;
          light();
        });
        return button;
      }),
  );
  const marks = h(
    'ul',
    { class: 'legend', 'aria-label': 'Marks' },
    ...marksOf(root)
      .filter((mark) => mark !== 'cast')
      .map((mark) =>
        h(
          'li',
          {},
          h('span', { class: `swatch cell is-${mark}`, 'aria-hidden': 'true' }, MARK_SIGNS[mark]),
          `${MARK_WORDS[mark]} (${grouped(root.marks[mark])})`,
        ),
      ),
  );

  let width = 0;
  new ResizeObserver(() => {
    if (map.clientWidth === width) return;
    width = map.clientWidth;
    draw();
  }).observe(map);
  return h('div', {}, trail, map, said, legend, marks, words);
}

function layout(shown: Shown, width: number): readonly HierarchyRectangularNode<Shown>[] {
  const root = hierarchy(shown, ({ children }) => (children.length === 0 ? null : children))
    .sum(({ node, children }) => (children.length === 0 ? node.bytes : 0))
    .sort((a, b) => (b.value ?? 0) - (a.value ?? 0));
  const laid = layoutTreemap<Shown>()
    .size([width, HEIGHT])
    .paddingInner(2)
    .paddingOuter((node) => (node.depth === 0 ? 0 : 3))
    .paddingTop((node) => (node.depth === 0 ? 0 : TITLE))
    .round(true)(root);
  // A frame first, then what lies in it; what is too thin to be hit or seen is in the table.
  const cells: HierarchyRectangularNode<Shown>[] = [];
  laid.eachBefore((node) => void (node.depth > 0 && node.x1 - node.x0 >= 3 && node.y1 - node.y0 >= 3 && cells.push(node)));
  return cells;
}

function modulesTable(focus: ModuleNode): HTMLElement {
  const children = [...focus.children.values()].sort((a, b) => b.bytes - a.bytes);
  const rows = children.slice(0, MOST_ROWS).map((node) => [
    node.name,
    grouped(node.tensors),
    formatBytes(node.bytes),
    formatShare(node.bytes, focus.bytes),
    [...node.byDtype.keys()].join(', '),
    marksOf(node)
      .map((mark) => `${mark}: ${grouped(node.marks[mark])}`)
      .join(', '),
  ]);
  const more = children.length - rows.length;
  return h(
    'div',
    {},
    plainTable(
      focus.path === '' ? 'All modules' : `Parts of ${focus.path}`,
      ['name', 'tensors', 'size', 'share', 'dtypes', 'marks'],
      rows,
      [1, 2, 3],
    ),
    more > 0 ? h('p', {}, `${grouped(more)} smaller ones are not shown here.`) : null,
  );
}

function marksOf(node: ModuleNode): readonly Mark[] {
  return (Object.keys(node.marks) as Mark[]).filter((mark) => node.marks[mark] > 0);
}

function largest({ byDtype }: ModuleNode): string {
  let found = '';
  for (const [dtype, bytes] of byDtype) if (found === '' || bytes > byDtype.get(found)!) found = dtype;
  return found;
}

/** A module of several dtypes bears the colour of each, by its share. */
function bands({ byDtype, bytes }: ModuleNode): string {
  let at = 0;
  const stops = [...byDtype]
    .sort(([, a], [, b]) => b - a)
    .map(([dtype, size]) => {
      const from = at;
      at += (size / Math.max(1, bytes)) * 100;
      return `${dtypeColour(dtype)} ${from}% ${at}%`;
    });
  return `linear-gradient(90deg, ${stops.join(', ')})`;
}

function describe(node: ModuleNode, all: number): string {
  const count = node.row === null ? `${grouped(node.tensors)} ${node.tensors === 1 ? 'tensor' : 'tensors'}, ` : '';
  const marks = marksOf(node).map((mark) => `, ${node.row === null ? `${grouped(node.marks[mark])} ` : ''}${mark}`);
  return `${node.path}: ${count}${[...node.byDtype.keys()].join(' and ')}, ${formatBytes(node.bytes)}, ${formatShare(node.bytes, all)} of all${marks.join('')}`;
}
