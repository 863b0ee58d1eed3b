import { test } from '@jest/globals';
import fc from 'fast-check';
import { jsonText } from '../../src/model/json-text.ts';

test('a text is written as JSON writes it', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'grapheme-ascii' }),
    fc.constantFrom('', '"', '\\', '\u007f', '\u2028', '\ud800', 'a\nb', 'blocks.0.weight'),
  );
  fc.assert(
    fc.property(text, (each) => jsonText(each) === JSON.stringify(each)),
    { numRuns: 2000 },
  );
});
