/** What is said of YAML that is none: what stands there, and what to write instead, with its place. */
import { expect, test } from '@jest/globals';
import { LineCounter, parseDocument } from 'yaml';
import { yamlWords } from '../../src/model/yaml-words.ts';

const INDENTED = 'This is indented otherwise than what it belongs to';
const STAGE = 'stages:\n  - type: source.local\n';

test.each([
  [`${STAGE}    path:last.ckpt\n`, '3:5', 'A blank is missing after `:`: `path: …`.'],
  ['name:x\nstages: []\n', '1:1', 'A blank is missing after `:`: `name: …`.'],
  ['stages:\n  - type:source.local\n    path: a\n', '2:5', 'A blank is missing after `:`: `type: …`.'],
  ['stages:\n  -type: source.local\n    path: a\n', '2:3', 'A blank is missing after `-`.'],
  [`${STAGE}    path: a\n  -type: sink.publish\n`, '4:3', 'A blank is missing after `-`.'],
  [`${STAGE}   path: a\n`, '3:1', INDENTED],
  [`${STAGE} path: a\n`, '3:1', INDENTED],
  [`${STAGE}     path: a\n`, '3:6', INDENTED],
  [`${STAGE} - type: sink.publish\n`, '3:1', INDENTED],
  [`${STAGE}   - type: sink.publish\n`, '3:4', INDENTED],
  [`${STAGE}- type: sink.publish\n`, '3:1', INDENTED],
  ['name: x\n  stages: []\n', '2:3', INDENTED],
  ['  name: x\nstages: []\n', '2:1', INDENTED],
  ['name: a: b\n', '1:7', 'A text with `: ` in it needs quotes'],
  ['name: "x\nstages: []\n', '3:1', 'A text begins with `"`, and no `"` ends it up to here.'],
  ['name: "x" y\n', '1:11', 'There is more after the end of a value'],
  ['name: @x\n', '1:7', 'A text that begins with `@` needs quotes'],
  ['include: [*]\n', '1:11', 'A text that begins with `*` needs quotes'],
  ['name: "C:\\data"\n', '1:10', '`\\` begins an escape, and this is none'],
  ['a\nb: c\n', '1:1', 'This is not a `key: value`'],
  ['stages:\n  - { type: a, path: b\n  - { type: c }\n', '3:3', 'A `{` is opened, and no `}` closes it'],
  ['stages: [{ type: a path: b }]\n', '1:18', 'a `,` stands between one value and the next: there is one missing.'],
  ['a: [a,,b]\n', '1:7', 'there is none before this one'],
  ['a: [1]]\n', '1:7', 'closes nothing that was opened'],
  ['a: "x"#c\n', '1:7', 'A blank is missing before `#`'],
  ['a: { b: ${x} }\n', '1:10', "needs quotes: `path: '${param.x}'`"],
  ['{"stages": [{"type": "a" "path": "b"}]}', '1:26', 'a `,` stands between one value and the next: there is one missing.'],
  ['{"a": {"b]": 1} "c": 2}\n', '1:17', 'there is one missing.'],
  ['"a" "b": c\n', '1:5', "A text with `: ` in it needs quotes: `'a: b'`."],
  ['stages: - type: source.local\n', '1:9', 'A list begins on the line after its key'],
  ['a: - b\n', '1:4', 'A list begins on the line after its key'],
  ['note: | text\n', '1:9', 'A text behind `|` or `>` begins on the next line.'],
  ['note: >- text\n', '1:10', 'A text behind `|` or `>` begins on the next line.'],
  ['name: &\n', '1:7', 'A text that begins with `&` needs quotes'],
  [
    'stages:\n  -\u00a0type: local\n    path: /x\n',
    '2:4',
    'Here is a no-break space (U+00A0), which YAML takes for a letter: write a plain blank',
  ],
  ['name:\u00a0x\nstages: []\n', '1:6', 'a no-break space (U+00A0)'],
  ['stages:\n \u202f- type: local\n  - a: 1\n', '2:2', 'a narrow no-break space (U+202F)'],
  ['name: "a\u00a0b"\n  stages: []\n', '2:1', INDENTED],
  ['a: &x &y 1\n', '1:7', 'A node can have at most one anchor'],
])('%j', (text, place, words) => {
  const lines = new LineCounter();
  const { errors } = parseDocument(text, { lineCounter: lines, prettyErrors: false, merge: true });
  const { message, offset } = yamlWords(errors[0]!, text);
  const { line, col } = lines.linePos(offset);
  expect([`${line}:${col}`, message]).toEqual([place, expect.stringContaining(words)]);
});
