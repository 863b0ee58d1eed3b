/** Lists for people stay within the terminal's width, but for what must stay whole. */
import { pathToFileURL } from 'node:url';
import { beforeAll, expect, test } from '@jest/globals';
import { z } from 'zod';
import { loadCatalog } from '../../../activities/catalog.ts';
import { inspectText, reportOn } from '../../../src/app/cli/commands/inspect.ts';
import { stageText } from '../../../src/app/cli/commands/stages.ts';
import { readHeader } from '../../../src/formats/read-header.ts';
import type { Header } from '../../../src/model/header.ts';
import { openLocalFile } from '../../../src/io/local/local-file.ts';
import { fixture } from '../../support/project.ts';

let header: Header;
beforeAll(async () => {
  const source = await openLocalFile(pathToFileURL(fixture('good/lightning_trained.ckpt')).href);
  header = await readHeader(source);
  await source.close();
});

const inspected = (columns: number): readonly string[] => {
  const report = reportOn(header, { uri: 'file:///x', size: 1, identity: 'i', requests: { count: 1, bytes: 1 } });
  return inspectText(report, header, columns);
};

test.each([50, 60, 80])('inspect in %d columns says all of it', (columns) => {
  const lines = inspected(columns);
  expect(lines.filter((line) => line.length > columns)).toEqual([]);
  // Each line is printed on its own.
  expect(lines.filter((line) => line.includes('\n'))).toEqual([]);
  const words = (given: readonly string[]): readonly string[] => given.join(' ').split(/\s+/);
  expect(words(lines)).toEqual(words(inspected(Infinity)));
});

test('without a terminal every tensor has one line', () => {
  expect(inspected(Infinity)).toContain('  model.encoder.weight  F32       [8, 4]              128 B');
});

test.each([50, 80])('stages in %d columns', async (columns) => {
  for (const { type, description, options } of (await loadCatalog()).values()) {
    const entry = { type, description, aliases: [], classes: [], options: z.toJSONSchema(options, { io: 'input' }) } as never;
    const lines = stageText(entry, (_color, text) => text, columns).split('\n');
    expect(lines.filter((line) => line.length > columns)).toEqual([]);
  }
});
