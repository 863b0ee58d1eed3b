import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { inLines, oneLine, visible, visibleJson } from '../../../src/app/cli/visible.ts';

test.each([
  ['a title and a bell', '\u001b]0;pwn\u0007', '\\x1b]0;pwn\\x07'],
  ['a cursor that moves', 'a\u001b[2Jb\u001b[1;1H', 'a\\x1b[2Jb\\x1b[1;1H'],
  ['the same in one character', '\u009b2J', '\\x9b2J'],
  ['a line that is written over', 'dangerous\rsafe', 'dangerous\\x0dsafe'],
  ['hidden text', '\u001b[8mx\u001b[0m', '\\x1b[8mx\\x1b[0m'],
  ['another direction', '\u202egpj', '\\u202egpj'],
  ['what is not seen', 'w\u200be\u2060i\ufeffg\u00adh\u{e0041}t\ufe0f\u3164', 'w\\u200be\\u2060i\\ufeffg\\xadh\\u{e0041}t\\ufe0f\\u3164'],
  ['our own colours, lines and tabs', '\u001b[32m✔\u001b[39m a\n\tb', '\u001b[32m✔\u001b[39m a\n\tb'],
  ['any other text', 'Größe 模型 😀', 'Größe 模型 😀'],
])('%s', (_, text, shown) => expect(visible(text)).toBe(shown));

test('JSON keeps its value, and has none of them', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const json = visibleJson(JSON.stringify({ text }, null, 2));
      expect(JSON.parse(json)).toEqual({ text });
      expect(visible(json)).toBe(json);
    }),
  );
});

test('a name stays in its line', () => {
  expect(oneLine('os\n  safe: nothing to see\r\nx')).toBe('os\\n  safe: nothing to see\\x0d\\nx');
});

test('every text in a value, however deep; all else stays', () => {
  const value = { id: 'a\u001b[31m\nb', list: [{ text: '\u202ex' }, 7, null], on: true };
  expect(inLines(value)).toEqual({ id: 'a\\x1b[31m\\nb', list: [{ text: '\\u202ex' }, 7, null], on: true });
});

test('a name has no colours of its own, in text that we paint', () => {
  expect(oneLine('\u001b[31mred\u001b[39m')).toBe('\\x1b[31mred\\x1b[39m');
  expect(visible(`\u001b[32m✔\u001b[39m ${oneLine('\u001b[31mred')}`)).toBe('\u001b[32m✔\u001b[39m \\x1b[31mred');
});
