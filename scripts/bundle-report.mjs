/** Makes the page of reports at build time: one file with style and script inside, and places for title and contents. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildSync, transformSync } from 'esbuild';

const SOURCE = new URL('../src/report/browser/', import.meta.url);
const read = (name) => readFileSync(new URL(name, SOURCE), 'utf8');

const { outputFiles } = buildSync({
  entryPoints: [fileURLToPath(new URL('main.ts', SOURCE))],
  bundle: true,
  minify: true,
  format: 'iife',
  target: 'es2022',
  write: false,
  legalComments: 'none',
  // Our own settings are for Node.
  tsconfigRaw: {},
});
// Neither may end the element that it stands in.
const script = outputFiles[0].text
  .replaceAll(/<\/(?=script)/gi, '<\\/')
  .replaceAll('<!--', '<\\!--')
  .trim();
const style = transformSync(read('page.css'), { loader: 'css', minify: true }).code.trim();
const page = read('template.html')
  .replace('/*style*/', () => style)
  .replace('/*script*/', () => script);
writeFileSync(new URL('../dist/report-page.html', import.meta.url), page);
