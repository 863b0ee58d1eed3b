/** Elements from data. Text goes in as text nodes and attributes, never as markup: names in checkpoints are anybody's. */

/** Pixels of a chart, as wide as the page; it shrinks with a narrower one. */
export const WIDTH = 1120;

type Child = Node | string | null;
type Attributes = Readonly<Record<string, string | number | boolean | null>>;

/** `null` and `false` leave an attribute out; `true` is an empty one. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (value !== null && value !== false) element.setAttribute(name, value === true ? '' : visible(String(value)));
  element.append(...children.flatMap((child) => (child === null ? [] : [typeof child === 'string' ? visible(child) : child])));
  return element;
}

/** Characters that would change how the text around them reads, or not be seen at all, as their numbers. */
function visible(text: string): string {
  return text.replaceAll(/(?![\t\n])[\p{Cc}\p{Cf}]/gu, (mark) => `\\u${mark.codePointAt(0)!.toString(16).padStart(4, '0')}`);
}

/** A section with its heading, which names it for who cannot see it. */
export function section(id: string, title: string, ...children: readonly Child[]): HTMLElement {
  return h('section', { 'aria-labelledby': `${id}-title`, id }, h('h2', { id: `${id}-title` }, title), ...children);
}

/** Terms and what they are; entries without a value are left out. */
export function facts(entries: readonly (readonly [term: string, value: Child])[]): HTMLElement {
  const shown = entries.filter(([, value]) => value !== null && value !== '');
  return h('dl', { class: 'facts' }, ...shown.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value))));
}

/** A table of a few rows, as it stands. */
export function plainTable(
  caption: string,
  titles: readonly string[],
  rows: readonly (readonly Child[])[],
  numeric: readonly number[] = [],
): HTMLElement {
  const kind = (column: number): Attributes => (numeric.includes(column) ? { class: 'number' } : {});
  return h(
    'div',
    { class: 'scroll', role: 'group', 'aria-label': caption, tabindex: 0 },
    h(
      'table',
      {},
      h('caption', { class: 'hidden' }, caption),
      h('thead', {}, h('tr', {}, ...titles.map((title, column) => h('th', { scope: 'col', ...kind(column) }, title)))),
      h('tbody', {}, ...rows.map((row) => h('tr', {}, ...row.map((cell, column) => h('td', kind(column), cell))))),
    ),
  );
}

export function code(text: string): HTMLElement {
  return h('code', {}, text);
}

export function disclosure(summary: string, ...children: readonly Child[]): HTMLElement {
  return h('details', {}, h('summary', {}, summary), ...children);
}

/** A drawing with its words; those who cannot see it get the words alone. */
export function figure(label: string, drawing: Element, ...words: readonly Child[]): HTMLElement {
  // The library names its marks for those who look at its sources.
  for (const part of drawing.querySelectorAll('[aria-label]')) part.removeAttribute('aria-label');
  drawing.setAttribute('role', 'img');
  drawing.setAttribute('aria-label', label);
  return h('figure', {}, h('div', { class: 'drawing' }, drawing), ...words);
}
