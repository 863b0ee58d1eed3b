/**
 * What a YAML parser finds wrong with a text, in our words: what stands there, and what to write instead.
 *
 * Invariant: it goes by the parser's code and by what stands at the place in the text; what is not known here keeps the parser's words.
 */

/** As the parser gives it: `pos` are offsets into the text. */
export interface YamlFault {
  readonly code: string;
  readonly message: string;
  readonly pos: readonly [number, number];
}

export interface YamlWords {
  readonly message: string;
  /** Where it is, which is not always where the parser noticed. */
  readonly offset: number;
}

const INDENTATION =
  'This is indented otherwise than what it belongs to: keys of one mapping begin in the same column, and so do the `-` of one list. Is there a blank too many or too few?';
/** Blanks that YAML takes for letters: as pages and word processors write them, with what people call them. */
const STRANGE = '[\\u00a0\\u1680\\u2000-\\u200b\\u202f\\u205f\\u3000\\ufeff]';
const CALLED: Readonly<Record<string, string>> = {
  '\u00a0': 'a no-break space',
  '\u202f': 'a narrow no-break space',
  '\u3000': 'an ideographic space',
};
/** Where a line is indented, or behind what a blank follows. */
const STRANGE_BLANK = new RegExp(`(?<=^[ \\t-]*|[:,-])${STRANGE}`, 'mu');
const STRANGE_END = new RegExp(`^${STRANGE}|${STRANGE}$`, 'u');

/** Of a text without quotes: a blank at an end of it that is none to YAML; undefined: there is none. `offset` is that of the text. */
export function strangeBlank(scalar: string, offset: number): YamlWords | undefined {
  const at = scalar.search(STRANGE_END);
  return at === -1 ? undefined : { message: strangeWords(scalar[at]!), offset: offset + at };
}

function strangeWords(blank: string): string {
  const code = `U+${blank.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
  const name = CALLED[blank];
  return `Here is ${name === undefined ? `the character ${code}` : `${name} (${code})`}, which YAML takes for a letter: write a plain blank, or put a text that it belongs to into quotes.`;
}

/** Where a brace may begin a mapping. */
const UNQUOTED = "Within `{ }` and `[ ]`, a value with `${…}` needs quotes: `path: '${param.x}'`.";

const COMMA = 'Within `{ }` and `[ ]`, a `,` stands between one value and the next: there is one missing.';

const BLOCK_TEXT = 'A text behind `|` or `>` begins on the next line.';

/** Whatever stands there. */
const BY_CODE: Readonly<Record<string, string>> = {
  MULTIPLE_DOCS: 'A file holds one YAML document: there is a second YAML document after `---`.',
  DUPLICATE_KEY: 'This key stands twice in the same mapping.',
  RESOURCE_EXHAUSTION: 'This is nested too deeply.',
  TAB_AS_INDENT: 'YAML is indented with spaces: there is a tab.',
  TAG_RESOLVE_FAILED: 'Tags (`!name`) are not understood: a document is plain data, and names no code.',
  BLOCK_IN_FLOW: COMMA,
};

/** By the parser's message, where its code alone does not tell. */
const BY_MESSAGE: readonly (readonly [words: RegExp, message: string])[] = [
  [/^Flow map in block/, 'A `{` is opened, and no `}` closes it up to here.'],
  [/^Flow sequence in block/, 'A `[` is opened, and no `]` closes it up to here.'],
  [/^Missing space after :/, 'A blank is missing after `:`.'],
  [/^Missing , /, COMMA],
  [/^Unexpected block-seq-ind on same line/, 'A list begins on the line after its key; a text that begins with `-` needs quotes.'],
  [/^Unexpected , in/, 'A `,` stands between two values: there is none before this one.'],
  [/^Unexpected flow-(map|seq)-end/, 'This bracket closes nothing that was opened.'],
  [/^Expected flow (map|sequence) to end|in flow (map|sequence)$/, 'A `{` or `[` is opened, and nothing closes it.'],
  [/^Comments must be separated/, 'A blank is missing before `#`; a text with `#` in it needs quotes.'],
  [/^Block scalar header/, BLOCK_TEXT],
  [/^Alias cannot be an empty string/, "A text that begins with `*` needs quotes: `'*'`."],
  [/^Anchor cannot be an empty string/, "A text that begins with `&` needs quotes: `'&'`."],
];

/** Codes of what is not laid out as a mapping or list is. */
const LAYOUT = ['BAD_INDENT', 'BLOCK_AS_IMPLICIT_KEY', 'MISSING_CHAR', 'MULTILINE_IMPLICIT_KEY', 'UNEXPECTED_TOKEN'];

/** `discreet`: of a text of which nothing may be shown; what is said then in place of the parser's own words, which may quote it. */
export function yamlWords({ code, message, pos }: YamlFault, text: string, discreet?: string): YamlWords {
  const [at] = pos;
  const said = (words: string, offset = at): YamlWords => ({ message: words, offset });
  if (text.slice(at - 1, at + 1) === '${') return said(UNQUOTED);
  if (message.startsWith('Not a YAML token') && /[|>][-+\d]*[ \t]+$/.test(text.slice(0, at))) return said(BLOCK_TEXT);
  if (/^Unexpected (single|double)-quoted-scalar/.test(message) && isInBrackets(text.slice(0, at))) return said(COMMA);
  const known = BY_CODE[code] ?? BY_MESSAGE.find(([words]) => words.test(message))?.[1];
  if (known !== undefined) return said(known);
  const quote = /^Missing closing (["'])/.exec(message)?.[1];
  if (quote !== undefined) return said(`A text begins with \`${quote}\`, and no \`${quote}\` ends it up to here.`);
  if (code === 'BAD_SCALAR_START' && discreet !== undefined) return said('A text that begins with this character needs quotes.');
  if (code === 'BAD_SCALAR_START') return said(`A text that begins with \`${text[at] ?? ''}\` needs quotes: \`'${text[at] ?? ''}…'\`.`);
  if (code === 'BAD_DQ_ESCAPE')
    return said(
      'Within `"…"`, `\\` begins an escape, and this is none: write `\\\\` for the character itself, or put the text into `\'…\'`.',
    );
  return LAYOUT.includes(code) ? layoutWords(at, text, discreet !== undefined) : said(discreet ?? message);
}

/** Whether a bracket is open at the end of a text, but for those in quotes. */
function isInBrackets(before: string): boolean {
  const bare = before.replaceAll(/"(?:[^"\\]|\\.)*"|'[^']*'/gs, '');
  return bare.replaceAll(/[^[{]/g, '').length > bare.replaceAll(/[^\]}]/g, '').length;
}

function layoutWords(at: number, text: string, isDiscreet: boolean): YamlWords {
  const start = text.lastIndexOf('\n', at - 1) + 1;
  const end = text.indexOf('\n', at) === -1 ? text.length : text.indexOf('\n', at);
  const line = text.slice(start, end);
  const said = (message: string, offset = at): YamlWords => ({ message, offset });
  // On the line itself, or on the one before, which it does not belong to then.
  const from = text.lastIndexOf('\n', start - 2) + 1;
  const strange = text.slice(from, end).search(STRANGE_BLANK);
  if (strange !== -1) return said(strangeWords(text[from + strange]!), from + strange);
  if (/^\s*-[A-Za-z_]/.test(line)) return said('A blank is missing after `-`.', start + line.search(/\S/));
  const rest = text.slice(at, end);
  const key = /^(?:-\s+)*([A-Za-z_][\w.-]*):(?![\s/])/.exec(rest)?.[1];
  if (key !== undefined) return said(`A blank is missing after \`:\`${isDiscreet ? '' : `: \`${key}: …\``}.`);
  const isFirst = line.slice(0, at - start).trim() === '';
  // A value that goes on with a key: on its own line it is a text with a colon, else the next line is indented too far.
  if (!isFirst && /:(\s|$)/.test(rest)) return said("A text with `: ` in it needs quotes: `'a: b'`.");
  const next = end + text.slice(end).search(/\S/);
  if (!isFirst && !/^["'[{]/.test(rest) && next >= end && /^[^\n]*:(\s|$)/.test(text.slice(next))) return said(INDENTATION, next);
  if (!isFirst) return said('There is more after the end of a value: put the whole of it into quotes, or begin a new line.');
  return /:(\s|$)/.test(rest) || /^-(\s|$)/.test(rest)
    ? said(INDENTATION)
    : said('This is not a `key: value`, and nothing that could be one is around it: is a `:` missing, or the indentation wrong?');
}
