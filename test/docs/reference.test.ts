/** Pages that are made are as they would be made now; every error code has its entry, and every error says where. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { errorText } from '../../src/app/cli/output.ts';
import { ERROR_CODES } from '../../src/errors.ts';
import { PROJECT_ROOT } from '../support/project.ts';
import { references } from './reference.ts';

const DOCS = join(PROJECT_ROOT, 'docs');
const PAGES = ['README.md', 'CONTRIBUTING.md', ...readdirSync(DOCS, { recursive: true }).map((name) => `docs/${String(name)}`)].filter(
  (name) => name.endsWith('.md'),
);
const read = (name: string): string => readFileSync(join(PROJECT_ROOT, name), 'utf8');

test('made pages are current: else `npm run docs`', async () => {
  for (const [name, text] of Object.entries(await references())) expect([name, read(`docs/${name}`)]).toEqual([name, text]);
}, 180_000);

/** As GitHub makes them of headings. */
function anchorsIn(page: string): readonly string[] {
  return [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

test('every error code has an entry, and every error prints its anchor', () => {
  const anchors = anchorsIn(read('docs/operations.md'));
  for (const type of ERROR_CODES) {
    const [, page, anchor] = /\((docs\/operations\.md)#([a-z]+)\)$/.exec(errorText({ type, message: 'x', details: {} }))!;
    expect(page).toBe('docs/operations.md');
    expect([type, anchors.includes(anchor!)]).toEqual([type, true]);
  }
});

test('links between pages lead somewhere', () => {
  const broken = PAGES.flatMap((name) =>
    [
      ...read(name)
        .replaceAll(/```.*?```/gs, '')
        .matchAll(/\]\(([^)\s]+)\)/g),
    ].flatMap(([, target]) => {
      if (/^[a-z]+:/.test(target!)) return [];
      const [path, anchor] = target!.split('#') as [string, string?];
      const place = path === '' ? name : join(name.includes('/') ? name.slice(0, name.lastIndexOf('/')) : '', path);
      try {
        if (!place.endsWith('.md'))
          return readdirSync(join(PROJECT_ROOT, place, '..')).includes(place.split('/').at(-1)!) ? [] : [[name, target]];
        return anchor === undefined || anchorsIn(read(place)).includes(anchor) ? [] : [[name, target]];
      } catch {
        return [[name, target]];
      }
    }),
  );
  expect(broken).toEqual([]);
});

test('files of the project that pages name are there', () => {
  const missing = PAGES.flatMap((name) =>
    [...read(name).matchAll(/`((?:src|activities|workflows|test|scripts|bench|examples)\/[\w./-]+)`/g)]
      .map(([, file]) => file!)
      .filter((file) => !existsSync(join(PROJECT_ROOT, file)))
      .map((file) => [name, file]),
  );
  expect(missing).toEqual([]);
});
