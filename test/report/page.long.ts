/** The report in a real browser: what it shows, by mouse, keyboard and screen reader; and that it keeps to itself. Screenshots lie in dist/screenshots. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import axe from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { reportTemplate } from '../../src/io/publish/report-file.ts';
import type { Contents } from '../../src/report/contents.ts';
import { reportPage } from '../../src/report/page.ts';
import { findChromium, launchChromium } from '../support/browser.ts';
import { compiled } from '../support/project.ts';
import { batchOf, failedRun, HOSTILE, many, runOf, transformer } from '../support/reports.ts';

const LONG = 180_000;
/** A bound against hangs. */
const DRAWN = { timeout: 60_000 };

const chromium = findChromium();
if (chromium === null) process.stderr.write('skipped: no Chromium on the PATH or in CHROMIUM_PATH, so reports are not looked at\n');
const inBrowser = chromium === null ? test.skip : test;

let browser: Browser;
let folder: string;
let template: string;

beforeAll(async () => {
  template = await reportTemplate();
  if (chromium === null) return;
  folder = await mkdtemp(join(tmpdir(), 'ckpt-report-'));
  await mkdir(compiled('screenshots'), { recursive: true });
  browser = await launchChromium(chromium);
}, LONG);

afterAll(async () => {
  await browser?.close();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

interface Opened {
  readonly page: Page;
  /** Console errors, uncaught ones, and requests beyond the file itself. */
  readonly wrong: readonly string[];
}

async function open(contents: Contents, options: { readonly scheme?: 'light' | 'dark'; readonly width?: number } = {}): Promise<Opened> {
  const path = join(folder, `${Math.random()}.html`);
  await writeFile(path, reportPage(template, contents));
  const page = await browser.newPage({ viewport: { width: options.width ?? 1200, height: 900 }, colorScheme: options.scheme ?? 'light' });
  const wrong: string[] = [];
  const address = pathToFileURL(path).href;
  page.on('console', (message) => void (['error', 'warning'].includes(message.type()) && wrong.push(message.text())));
  page.on('pageerror', (error) => void wrong.push(error.message));
  page.on('request', (request) => void (request.url() !== address && wrong.push(request.url())));
  await page.goto(address);
  await page.locator('main').waitFor(DRAWN);
  return { page, wrong };
}

/** Names in the first column of the tensor table, as drawn. */
const names = (page: Page): Promise<readonly string[]> => page.locator('#tensors tbody th').allTextContents();

describe('a run', () => {
  inBrowser(
    'shows its stages with attempts, what went in and came out, what was left out, globals and digests',
    async () => {
      const { page, wrong } = await open(runOf(transformer()));
      const text = (id: string): Promise<string> => page.locator(`#${id}`).innerText();
      expect(await page.getByRole('heading', { level: 1 }).innerText()).toMatch(/nightly-mirror\s+✔ completed/);
      expect(await text('stages')).toMatch(/5 sink\.publish\s+completed\s+8\.4 s\s+published 342 tensors/);
      expect(await text('stages')).toContain('failed after 1.7 s: CheckpointSourceError: s3://serving answered 503');
      expect(await text('stages')).toContain('lost after 1.1 s');
      expect(await page.locator('#stages svg').count()).toBe(1);
      expect(await text('flow')).toMatch(/s3:\/\/training\/runs\/epoch=7\.ckpt[\s\S]*epoch 7, step 184,000/);
      expect(await text('flow')).toContain('s3://serving/models/epoch-7.safetensors');
      expect(await text('left-out')).toMatch(/not in the target\s+2\s+old_head\.classifier\.weight, old_head\.classifier\.bias/);
      expect(await text('left-out')).toContain('project.losses.FocalLoss');
      expect(await text('globals')).toMatch(/\? unknown\s+project\.losses\.FocalLoss\s+1[\s\S]*torch\._utils\._rebuild_tensor_v2\s+2/);
      expect(await text('digests')).toMatch(/sha256 [0-9a-f]{64}/);
      expect(await text('record')).toContain('2 tensors of old_head have no place in the target');
      expect(await page.locator('#tensors output').innerText()).toBe('341 tensors');
      expect(wrong).toEqual([]);
      await page.screenshot({ path: compiled('screenshots/report-light.png'), fullPage: true });
      await page.close();
    },
    LONG,
  );

  inBrowser(
    'filters by name, dtype and mark, and sorts both ways, and says so',
    async () => {
      const { page } = await open(runOf(transformer()));
      const count = page.locator('#tensors output');
      await page.getByLabel('name contains').fill('layers.11. bias');
      expect(await count.innerText()).toBe('6 of 341 tensors');
      for (const name of await names(page)) expect(name).toMatch(/^model\.layers\.11\..*bias$/);
      await page.getByLabel('name contains').fill('');
      await page.locator('#tensor-mark').selectOption('filled');
      expect(await names(page)).toEqual(['head.classifier.weight', 'head.classifier.bias']);
      await page.locator('#tensor-mark').selectOption('skipped');
      expect(await names(page)).toEqual(['old_head.classifier.weight', 'old_head.classifier.bias']);
      await page.locator('#tensor-mark').selectOption('');
      await page.locator('#tensor-dtype').selectOption('I64');
      expect(await count.innerText()).toBe('24 of 341 tensors');
      await page.locator('#tensor-dtype').selectOption('');

      const head = (title: string): ReturnType<Page['getByRole']> => page.locator('#tensors').getByRole('columnheader', { name: title });
      await head('size').getByRole('button').click();
      expect(await head('size').getAttribute('aria-sort')).toBe('descending');
      expect((await names(page))[0]).toBe('model.embed_tokens.weight');
      await head('size').getByRole('button').click();
      expect(await head('size').getAttribute('aria-sort')).toBe('ascending');
      expect((await names(page))[0]).toMatch(/steps$/);
      await head('name').getByRole('button').click();
      expect(await head('size').getAttribute('aria-sort')).toBe('none');
      expect((await names(page))[0]).toBe('head.classifier.bias');
      // Numbers in names by their value.
      await page.getByLabel('name contains').fill('input_norm');
      expect((await names(page)).slice(1, 4)).toEqual([
        'model.layers.1.input_norm.weight',
        'model.layers.2.input_norm.weight',
        'model.layers.3.input_norm.weight',
      ]);
      await page.close();
    },
    LONG,
  );

  inBrowser(
    'is used by keyboard: skip link, sorting, the treemap and its way into the table',
    async () => {
      const { page } = await open(runOf(transformer()));
      const focused = (): Promise<string> =>
        page.evaluate('(document.activeElement.querySelector(".hidden") ?? document.activeElement).textContent');
      await page.keyboard.press('Tab');
      expect(await focused()).toBe('Skip to the report');
      await page.keyboard.press('Enter');
      expect(await page.evaluate('document.activeElement.id')).toBe('main');

      await page.locator('.treemap button[tabindex="0"]').focus();
      expect(await focused()).toMatch(/^model: \d+ tensors, .* of all/);
      await page.keyboard.press('ArrowRight');
      await page.keyboard.press('ArrowRight');
      expect(await focused()).toMatch(/^model\.layers\.\d+: /);
      await page.keyboard.press('Enter');
      const trail = page.getByRole('navigation', { name: 'Module' });
      expect(await trail.innerText()).toMatch(/all tensors\s*›\s*model\s*›\s*layers\s*›\s*\d+/);
      await page.keyboard.press('Escape');
      expect(await trail.innerText()).toMatch(/layers\s*Show these/);
      await page.keyboard.press('End');
      expect(await page.locator('.treemap button[tabindex="0"]').count()).toBe(1);
      await page.keyboard.press('Home');
      // To the first tensor among the cells.
      await page.keyboard.press('Enter');
      await page.keyboard.press('End');
      const tensor = (await focused()).split(':')[0]!;
      await page.keyboard.press('Enter');
      if ((await page.getByLabel('name contains').inputValue()) === '') await page.keyboard.press('Enter');
      expect(await page.getByLabel('name contains').inputValue()).toContain(tensor.split('.')[1]!);
      expect((await names(page)).length).toBeGreaterThan(0);
      expect(await page.evaluate('document.activeElement.id')).toBe('tensor-filter');
      await page.close();
    },
    LONG,
  );

  inBrowser(
    'that failed shows the failure first, with what to do',
    async () => {
      const { page, wrong } = await open(failedRun());
      const sections = await page.locator('main h2').allInnerTexts();
      expect(sections[0]).toBe('What failed');
      const failure = await page.locator('#failure').innerText();
      expect(failure).toContain('CheckpointIncompatibleError: 12 tensors do not fit the target');
      expect(failure).toContain('Pipeline stage 2/5 (loader.transfer_learning)');
      expect(failure).toContain('ckpt diff');
      expect(sections).toContain('Tensors by module, as planned');
      expect(wrong).toEqual([]);
      await page.close();
    },
    LONG,
  );
});

inBrowser(
  'names that mean harm are text',
  async () => {
    const made = HOSTILE.map((name, index) => ({ name, shape: [index + 1, 300] }));
    const contents = runOf(made, {
      workflow_id: HOSTILE[0],
      error: { type: HOSTILE[1], message: HOSTILE[0], details: { suggestion: HOSTILE[2], validation_errors: [HOSTILE[1]] } },
      metadata: { warnings: [...HOSTILE] },
    });
    const html = reportPage(template, contents);
    // The title is all that is not packed.
    expect(html).toContain('<title>&#60;/script&#62;&#60;script&#62;globalThis.harmed = 1&#60;/script&#62;: completed</title>');
    const { page, wrong } = await open(contents);
    await page.waitForTimeout(200);
    expect(await page.evaluate('globalThis.harmed')).toBeUndefined();
    expect(wrong).toEqual([]);
    expect(await page.locator('main script, main img, main svg[onload]').count()).toBe(0);
    const shown = await names(page);
    expect(shown).toContain('__proto__');
    expect(shown).toContain(HOSTILE[0]);
    // What would turn the text around it is shown by its number.
    expect(shown).toContain('\\u202egnp.exe');
    await page.getByLabel('name contains').fill('<img');
    expect(await page.locator('#tensors output').innerText()).toBe(`1 of ${HOSTILE.length} tensors`);
    await page.close();
  },
  LONG,
);

describe.each(['light', 'dark'] as const)('%s', (scheme) => {
  inBrowser.each([
    ['a run', () => runOf([{ name: '', shape: [1] }, ...transformer()])],
    ['a failed run', failedRun],
    ['a batch', () => batchOf(600)],
  ] as const)(
    '%s: nothing that axe-core objects to, and no sideways scrolling on a phone',
    async (name, make) => {
      const { page, wrong } = await open(make(), { scheme });
      await page.evaluate(axe.source);
      const { violations } = (await page.evaluate('axe.run(document, { resultTypes: ["violations"] })')) as {
        violations: readonly { id: string; nodes: readonly { html: string; failureSummary: string }[] }[];
      };
      expect(violations.map(({ id, nodes }) => [id, nodes[0]!.html.slice(0, 200), nodes[0]!.failureSummary])).toEqual([]);
      const background = await page.evaluate('getComputedStyle(document.body).backgroundColor');
      expect(background).toBe(scheme === 'light' ? 'rgb(255, 255, 255)' : 'rgb(20, 24, 31)');
      await page.screenshot({ path: compiled(`screenshots/report-${name.replaceAll(' ', '-')}-${scheme}.png`), fullPage: true });
      for (const width of [390, 320]) {
        await page.setViewportSize({ width, height: 800 });
        await page.waitForTimeout(200);
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
      }
      expect(wrong).toEqual([]);
      await page.close();
    },
    LONG,
  );
});

inBrowser(
  '100,000 tensors: as many rows in the document as are in sight, wherever it is scrolled, and every one can be found',
  async () => {
    const contents = runOf(many(100_000));
    expect(reportPage(template, contents).length).toBeLessThan(8 * 2 ** 20);
    const { page, wrong } = await open(contents);
    const region = page.getByRole('region', { name: 'Table of tensors' });
    const drawn = (): Promise<number> => page.locator('#tensors tbody tr:not(.space)').count();
    expect(await page.locator('#tensors table').getAttribute('aria-rowcount')).toBe('100001');
    expect(await drawn()).toBeLessThan(80);
    await region.focus();
    await page.keyboard.press('End');
    await page.getByText('experts.99.layer.999.weight').first().waitFor(DRAWN);
    expect(await drawn()).toBeLessThan(80);
    expect(await page.locator('#tensors tbody tr[aria-rowindex="100001"]').innerText()).toContain('experts.99.layer.999.weight');
    await page.keyboard.press('PageUp');
    await region.evaluate((element) => void (element.scrollTop = 50_000 * 30));
    await page.getByText('experts.50.layer.0.weight').first().waitFor(DRAWN);
    await page.getByLabel('name contains').fill('experts.73.layer.511.');
    await page.getByText('1 of 100,000 tensors').waitFor(DRAWN);
    expect(await names(page)).toEqual(['experts.73.layer.511.weight']);
    await page.getByLabel('name contains').fill('');
    await page.locator('#tensors').getByRole('columnheader', { name: 'size' }).getByRole('button').click();
    expect((await names(page))[0]).toBe('experts.0.layer.96.weight');
    expect(await page.locator('.treemap button').count()).toBeLessThan(600);
    expect(wrong).toEqual([]);
    await page.close();
  },
  LONG,
);

inBrowser(
  'on paper: the table unrolled, no controls',
  async () => {
    const { page } = await open(runOf(transformer()));
    const pdf = await page.pdf();
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
    await page.emulateMedia({ media: 'print' });
    await page.evaluate('dispatchEvent(new Event("beforeprint"))');
    expect(await page.locator('#tensors tbody th').count()).toBe(341);
    expect(await page.locator('details:not([open])').count()).toBe(0);
    expect(await page.locator('.filters').first().isVisible()).toBe(false);
    await page.emulateMedia({ media: 'screen' });
    await page.evaluate('dispatchEvent(new Event("afterprint"))');
    expect(await page.locator('#tensors tbody th').count()).toBeLessThan(80);
    await page.close();
  },
  LONG,
);

inBrowser(
  'a batch: totals, outcomes over time, failures by code, and a table of 100,000 items that stays quick',
  async () => {
    const { page, wrong } = await open(batchOf(100_000));
    const outcomes = await page.locator('#outcomes').innerText();
    expect(outcomes).toMatch(/100,000 of 100,000 ended/);
    expect(outcomes).toMatch(/4,348, 4\.3 %/);
    expect(outcomes).toMatch(/items\/s/);
    expect(await page.locator('#outcomes svg').count()).toBe(2);
    expect(await page.locator('#failures [role=img]').getAttribute('aria-label')).toMatch(/CheckpointLoadError \d/);
    expect(await page.locator('#items tbody tr:not(.space)').count()).toBeLessThan(80);
    await page.locator('#item-code').selectOption('CheckpointLoadError');
    expect(await page.locator('#items output').innerText()).toMatch(/^[\d,]+ of 100,000 items$/);
    await page.getByLabel('item or message contains').fill('epoch=99981.');
    expect(await page.locator('#items tbody tr:not(.space)').count()).toBeLessThanOrEqual(1);
    expect(wrong).toEqual([]);
    await page.close();
  },
  LONG,
);

inBrowser('a small batch: its axes count whole items', async () => {
  const { page } = await open(batchOf(7));
  const labels = await page.locator('#outcomes svg text').allTextContents();
  expect(labels).toContain('1');
  expect(labels.filter((label) => /^\d+\.\d+$/.test(label))).toEqual([]);
  await page.close();
});

test('the report of a small run stays below 400 kB, and the page names no place to load from', () => {
  const html = reportPage(template, runOf(transformer()));
  expect(html.length).toBeLessThan(400_000);
  expect(html).toContain("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:");
  expect(html).not.toMatch(/<(?:link|img|iframe|script)[^>]*\s(?:src|href)=/i);
});
