/** Tensors by module: a tree by the dots in their names, and as much of it as a treemap can show. Pure. */
import { MARK, type Mark, type TensorColumns } from '../contents.ts';

export interface ModuleNode {
  /** Last part of the path; several where only one leads further. */
  name: string;
  readonly path: string;
  bytes: number;
  tensors: number;
  readonly byDtype: Map<string, number>;
  /** How many of its tensors bear a mark. */
  readonly marks: Record<Mark, number>;
  readonly children: Map<string, ModuleNode>;
  /** Index of its row; null for a module. */
  readonly row: number | null;
}

/** Deeper names stay in one piece: a name may be nothing but dots. */
const DEEPEST = 40;

export function moduleTree(columns: TensorColumns): ModuleNode {
  const root = moduleNode('', '', null);
  for (const [row, name] of columns.name.entries()) {
    const dtype = columns.dtype[row] ?? 'unknown';
    const bytes = columns.bytes[row]!;
    const parts = name.split('.');
    const modules = parts.slice(0, Math.min(parts.length - 1, DEEPEST));
    const own = parts.slice(modules.length).join('.');
    let node = root;
    add(node, dtype, bytes, columns.marks[row]!);
    for (const part of modules) {
      let next = node.children.get(part);
      if (next === undefined) node.children.set(part, (next = moduleNode(part, node === root ? part : `${node.path}.${part}`, null)));
      node = next;
      add(node, dtype, bytes, columns.marks[row]!);
    }
    // A parameter may be named as a module beside it is, and a skipped one as a published one.
    const leaf = moduleNode(own, name, row);
    add(leaf, dtype, bytes, columns.marks[row]!);
    node.children.set(`${own}\0${row}`, leaf);
  }
  return root;
}

function moduleNode(name: string, path: string, row: number | null): ModuleNode {
  const marks = { skipped: 0, filled: 0, frozen: 0, cast: 0 };
  return { name, path, bytes: 0, tensors: 0, byDtype: new Map(), marks, children: new Map(), row };
}

function add(node: ModuleNode, dtype: string, bytes: number, marks: number): void {
  node.bytes += bytes;
  node.tensors++;
  node.byDtype.set(dtype, (node.byDtype.get(dtype) ?? 0) + bytes);
  for (const [mark, bit] of Object.entries(MARK) as [Mark, number][]) if ((marks & bit) !== 0) node.marks[mark]++;
}

/** A node as it is drawn: with those of its children that are, or as one cell. */
export interface Shown {
  readonly node: ModuleNode;
  readonly label: string;
  readonly children: Shown[];
}

/** The parts of `focus` that are drawn: the largest modules are opened, three deep, until there are `most` cells. */
export function shownParts(focus: ModuleNode, most: number): Shown {
  const root: Shown = { node: focus, label: focus.path, children: [] };
  const open: { shown: Shown; depth: number }[] = [{ shown: root, depth: 0 }];
  let cells = 1;
  while (open.length > 0) {
    open.sort((a, b) => a.shown.node.bytes - b.shown.node.bytes);
    const { shown, depth } = open.pop()!;
    const children = [...shown.node.children.values()].filter(({ bytes }) => bytes > 0).sort((a, b) => b.bytes - a.bytes);
    if (children.length === 0 || (depth > 0 && cells + children.length > most)) continue;
    // The focus is opened whatever it holds: its smallest parts would be specks.
    for (const child of children.slice(0, most)) {
      const part = chain(child);
      shown.children.push(part);
      if (depth < 3 && part.node.children.size > 0) open.push({ shown: part, depth: depth + 1 });
    }
    cells += children.length - 1;
  }
  return root;
}

/** A module with nothing but one module in it is drawn as that one. */
function chain(first: ModuleNode): Shown {
  let node = first;
  let label = first.name;
  for (;;) {
    const [only, another] = node.children.values();
    if (only === undefined || another !== undefined || only.row !== null) return { node, label, children: [] };
    node = only;
    label += `.${only.name}`;
  }
}
