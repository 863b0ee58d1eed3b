import { expect, test } from '@jest/globals';
import { escapeControls, escapeMarkdown, formatBytes, formatCount, formatNumber } from '../../src/model/text.ts';

test.each([
  [0, '0 tensors'],
  [1, '1 tensor'],
  [999, '999 tensors'],
  [1000, '1,000 tensors'],
  [1234567, '1,234,567 tensors'],
])('%d: %s', (count, text) => expect(formatCount(count, 'tensor')).toBe(text));

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1536, '1.50 KiB'],
  [10_234, '9.99 KiB'],
  [10_239, '10.0 KiB'],
  [102_399, '100 KiB'],
  [1_048_063, '1023 KiB'],
  [1_048_476, '1.00 MiB'],
  [680_326_400, '649 MiB'],
  [2 ** 60, '1024 PiB'],
])('%d bytes: %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test('thousands are told apart', () => {
  expect([0, 999, 1000, 1234567].map(formatNumber)).toEqual(['0', '999', '1,000', '1,234,567']);
});

test('what would act on a page or a terminal is shown as it is written', () => {
  expect(escapeMarkdown('a\u202egpj.\u001b[31m*\u2066\u0085')).toBe(String.raw`a\\u202egpj.\\x1b\[31m\*\\u2066\\x85`);
  expect(escapeControls('a\u202eb\u001b[31m\n\tc é 😀')).toBe('a\\u202eb\\x1b[31m\n\tc é 😀');
});

test('no two names look alike because of what is not seen', () => {
  const unseen = [
    0xad, 0x34f, 0x200b, 0x200c, 0x200d, 0x200e, 0x2060, 0x2064, 0x206f, 0x180e, 0xfe00, 0xfe0f, 0xfeff, 0xe0020, 0xe007f, 0xe0100,
  ];
  for (const code of unseen)
    expect(escapeControls(`a${String.fromCodePoint(code)}b`)).toMatch(/^a\\(x[0-9a-f]{2}|u[0-9a-f]{4}|u\{[0-9a-f]+\})b$/);
  expect(escapeMarkdown('a\u{e0041}')).toBe(String.raw`a\\u{e0041}`);
});

test('references and the ends of patterns are not formulas', () => {
  expect(escapeMarkdown('${item.dir}/${item.stem} and ^a$')).toBe(String.raw`\${item.dir}/\${item.stem} and ^a\$`);
});
