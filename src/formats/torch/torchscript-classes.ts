/**
 * The classes that a code member of a TorchScript archive declares: which attributes of a module are parameters, buffers, or neither.
 *
 * torch prints a class as lines of its own few forms (`serialization/python_print.cpp`), its attributes one to a line, behind two
 * spaces; bodies of methods and of functions are passed over. Invariant: no class is understood by half. A line that torch does not
 * print where attributes are declared is an error with its place, and nothing is ever run.
 */
import { CheckpointLoadError } from '../../errors.ts';

export interface ModuleClass {
  /** Types by attribute names, in the order of its slots. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly parameters: ReadonlySet<string>;
  /** Undefined: torch before 1.6 wrote it, which did not say. */
  readonly buffers: ReadonlySet<string> | undefined;
  /** What is in the pickle is for the class's own `__setstate__`, and not its attributes. */
  readonly hasOwnState: boolean;
}

/** By name; null: a class that is no module, as are those of data and interfaces. */
export type DeclaredClasses = ReadonlyMap<string, ModuleClass | null>;

const CLASS = /^class ([A-Za-z_]\w*)(?:\((\w+)\))?:$/;
/** Names have no escapes: torch prints them as they are, and could not load those with quotes. */
const NAMES = /^ {2}(__parameters__|__buffers__|__forward_hooks__|__forward_pre_hooks__) = \[((?:"[^"\\]*", )*)\]$/;
const ATTRIBUTE = /^ {2}(?:([A-Za-z_]\w*) : |__annotations__\["([^"\\]*)"\] = )(.+)$/;
const TYPE = /^[\w.,[\]() ]+$/;
const METHOD = /^ {2}def ([A-Za-z_]\w*)\(/;
/** Behind which nothing is declared: torch begins the annotations of names that are no identifiers so. */
const NO_MEANING = new Set(['  __annotations__ = []', '  pass']);
const CONSTANT = 'Final[';
const SPACE = /\s/;

/** A class while its lines are read. */
interface Open {
  readonly attributes: Map<string, string>;
  readonly lists: Map<string, ReadonlySet<string>>;
  readonly methods: Set<string>;
}

/** Reads one member's text; throws `CheckpointLoadError`, which names `member`. */
export function parseClasses(text: string, member: string, uri: string): DeclaredClasses {
  const classes = new Map<string, ModuleClass | null>();
  let line = 0;
  const notUnderstood = (what: string): CheckpointLoadError =>
    new CheckpointLoadError(
      `${uri}: line ${line} of ${member} ${what}. It declares which attributes are parameters and buffers. Save its weights by themselves: torch.save(torch.jit.load(path).state_dict(), path).`,
      uri,
      { details: { member, line } },
    );
  // torch prints no such strings, which might go over lines.
  if (text.includes('"""') || text.includes("'''")) {
    line = text.slice(0, text.search(/"""|'''/)).split('\n').length;
    throw notUnderstood('has a string in triple quotes, which torch does not write');
  }
  let name = '';
  let open: Open | null = null;
  let isInMethod = false;
  const close = (): void => {
    if (open !== null) classes.set(name, closed(open, notUnderstood));
    open = null;
  };
  for (let start = 0; start < text.length;) {
    const found = text.indexOf('\n', start);
    const end = found === -1 ? text.length : found;
    line++;
    if (end > start && !SPACE.test(text[start]!)) {
      close();
      isInMethod = false;
      const row = text.startsWith('class', start) ? text.slice(start, end) : '';
      if (row !== '') {
        const [, declared, base] = CLASS.exec(row) ?? [];
        if (declared === undefined) throw notUnderstood(`is ${shown(row)}, which begins no class that torch writes`);
        if (classes.has(declared)) throw notUnderstood(`declares ${shown(declared)} a second time`);
        name = declared;
        if (base === 'Module') open = { attributes: new Map(), lists: new Map(), methods: new Set() };
        else classes.set(name, null);
      }
    } else if (open !== null && end > start) {
      const isDeeper = text.startsWith('   ', start);
      if (!(isDeeper && isInMethod)) {
        const row = text.slice(start, end);
        const method = METHOD.exec(row)?.[1];
        isInMethod = method !== undefined;
        const what = method === undefined ? declare(open, row) : twice(open.methods, method);
        if (what !== undefined) throw notUnderstood(what);
      }
    }
    start = end + 1;
  }
  close();
  return classes;
}

/** Takes in a line of a class that begins no method; says what is wrong with it. */
function declare({ attributes, lists }: Open, row: string): string | undefined {
  const [, list, names] = NAMES.exec(row) ?? [];
  if (list !== undefined) {
    if (lists.has(list)) return `has a second ${list} of one class`;
    lists.set(list, new Set(names!.split('", ').flatMap((each) => (each === '' ? [] : [each.slice(1)]))));
    return undefined;
  }
  if (NO_MEANING.has(row)) return undefined;
  const [, plain, quoted, type] = ATTRIBUTE.exec(row) ?? [];
  const name = plain ?? quoted;
  if (name === undefined || type === undefined) return `is ${shown(row)}, which declares nothing that is known`;
  if (type.startsWith(CONSTANT)) return undefined;
  if (!TYPE.test(type)) return `is ${shown(row)}, whose type is none that torch writes`;
  if (attributes.has(name)) return `declares ${shown(name)} a second time`;
  attributes.set(name, type);
  return undefined;
}

function twice(methods: Set<string>, method: string): string | undefined {
  if (methods.has(method)) return `defines ${shown(method)} a second time`;
  methods.add(method);
  return undefined;
}

function closed({ attributes, lists, methods }: Open, notUnderstood: (what: string) => CheckpointLoadError): ModuleClass {
  const parameters = lists.get('__parameters__');
  const buffers = lists.get('__buffers__');
  if (parameters === undefined) throw notUnderstood('is behind a module that has no __parameters__');
  for (const each of [...parameters, ...(buffers ?? [])])
    if (!attributes.has(each)) throw notUnderstood(`is behind a module that lists ${shown(each)} and does not declare it`);
  return { attributes, parameters, buffers, hasOwnState: methods.has('__getstate__') && methods.has('__setstate__') };
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
