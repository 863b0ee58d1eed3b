/** What people see of a run in the Temporal UI, in a real browser. Screenshots lie in dist/screenshots afterwards. */
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Worker } from '@temporalio/worker';
import type { Browser, Page } from 'playwright-core';
import { CheckpointClient } from '../../src/app/client.ts';
import { registerAttributes } from '../../src/app/temporal/search-attributes.ts';
import type { PipelineInput } from '../../src/pipeline/contract.ts';
import { findChromium, launchChromium } from '../support/browser.ts';
import { freePort } from '../support/ports.ts';
import { compiled, fixture } from '../support/project.ts';
import { devServer, servicesOf, workerOf } from '../support/temporal.ts';

const LONG = 180_000;
/** For the UI to have drawn what it fetches; a bound against hangs. */
const DRAWN = { timeout: 60_000 };

const chromium = findChromium();
if (chromium === null) process.stderr.write('skipped: no Chromium on the PATH or in CHROMIUM_PATH, so the Temporal UI is not looked at\n');
const inBrowser = chromium === null ? test.skip : test;

let environment: TestWorkflowEnvironment;
let worker: Worker;
let working: Promise<void>;
let browser: Browser;
let page: Page;
let folder: string;
let ui: string;

beforeAll(async () => {
  if (chromium === null) return;
  const uiPort = await freePort();
  ui = `http://127.0.0.1:${uiPort}/namespaces/default/workflows`;
  environment = await devServer({ uiPort });
  folder = await mkdtemp(join(tmpdir(), 'ckpt-ui-'));
  await mkdir(compiled('screenshots'), { recursive: true });
  // Current details are asked of a worker, so it stays up while they are looked at.
  worker = await workerOf(environment, 'checkpoints', servicesOf(join(folder, 'workspace')));
  working = worker.run();
  browser = await launchChromium(chromium);
  page = await browser.newPage({ viewport: { width: 1400, height: 1000 } });
}, LONG);

afterAll(async () => {
  if (chromium === null) return;
  await browser?.close();
  worker?.shutdown();
  await working;
  await environment?.teardown();
  await rm(folder, { recursive: true, force: true });
}, LONG);

async function run(name: string, source: string): Promise<string> {
  const input: PipelineInput = {
    name,
    stages: [
      { type: 'source.local', path: fixture(source) },
      { type: 'loader.weights_only' },
      { type: 'sink.publish', uri: join(folder, `${name}.safetensors`) },
    ],
  };
  const runs = new CheckpointClient({ client: environment.client });
  const started = await runs.start(input, { workflowId: `${name}-${randomUUID().slice(0, 8)}` });
  await runs.settled(started);
  return started.workflowId;
}

async function open(workflowId: string, tab: string): Promise<void> {
  // The link that `ckpt run` prints has no run id either; the UI finds it.
  await page.goto(`${ui}/${encodeURIComponent(workflowId)}`);
  await page
    .getByRole('tab', { name: tab })
    .or(page.getByRole('link', { name: tab }))
    .first()
    .click(DRAWN);
}

/** The frame, drawn by the UI's Markdown renderer, that has this text. */
async function rendered(text: string): Promise<string> {
  const deadline = Date.now() + DRAWN.timeout;
  for (;;) {
    for (const frame of page.frames().slice(1)) {
      const body = await frame
        .locator('body')
        .innerText()
        .catch(() => '');
      if (body.includes(text)) return body.replaceAll('\u00a0', ' ');
    }
    if (Date.now() > deadline) throw new Error(`the UI shows no Markdown with ${JSON.stringify(text)}`);
    await page.waitForTimeout(100);
  }
}

const screenshot = (name: string): Promise<unknown> => page.screenshot({ path: compiled(`screenshots/${name}.png`) });

inBrowser(
  'a run that completed: its stages with their summaries, what it was started with, and the stage table',
  async () => {
    const id = await run('scrub', 'good/lightning_trained.ckpt');
    await page.goto(ui);
    await page.getByRole('link', { name: id }).first().waitFor(DRAWN);

    await open(id, 'Event History');
    for (const [type, summary] of [
      ['source.local', 'lightning_trained.ckpt'],
      ['loader.weights_only', 'lightning in zip: 5 tensors'],
      ['sink.publish', '5 tensors, 248 B → scrub.safetensors'],
    ] as const) {
      const row = page.getByRole('row').filter({ hasText: 'Activity Task Scheduled' }).filter({ hasText: type });
      await row.waitFor(DRAWN);
      expect(await row.innerText()).toContain(summary);
    }
    await screenshot('completed-history');

    await open(id, 'Timeline');
    await page.getByText('source.local • lightning_trained.ckpt').first().waitFor(DRAWN);
    await screenshot('completed-timeline');

    await open(id, 'User Metadata');
    expect(await rendered('scrub: source.local → loader.weights_only → sink.publish')).toBeTruthy();
    expect(await rendered('path: ')).toContain('good/lightning_trained.ckpt');
    const table = await rendered('✔ completed');
    for (const row of [/1\s+source\.local\s+✔ completed/, /2\s+loader\.weights_only\s+✔ completed/, /3\s+sink\.publish\s+✔ completed/])
      expect(table).toMatch(row);
    expect(table).toContain('5 of 5 tensors transferred');
    expect(table).toContain('published 5 tensors');
    await screenshot('completed-details');
  },
  LONG,
);

inBrowser(
  'a run that failed: which stage, and the whole message within its panel',
  async () => {
    const id = await run('unsafe', 'unsafe/call_os_system.pt');
    await open(id, 'User Metadata');
    const table = await rendered('✖ failed');
    expect(table).toMatch(/1\s+source\.local\s+✖ failed/);
    expect(table).toMatch(/3\s+sink\.publish\s+· pending/);
    expect(table).toContain('its pickle names os.system');
    expect(table).toContain('do not load it elsewhere');
    const frames = page.frames().slice(1);
    const cut = await Promise.all(frames.map((frame) => frame.evaluate('document.body.scrollWidth > window.innerWidth')));
    expect(cut).toEqual(frames.map(() => false));
    await screenshot('failed-details');
  },
  LONG,
);

inBrowser(
  'a run that waits: its question with the answers stands before the table, and it is found by its search attribute',
  async () => {
    await registerAttributes(environment.connection, 'default');
    const runs = new CheckpointClient({ client: environment.client });
    const input: PipelineInput = {
      on_error: 'wait',
      stages: [
        { type: 'source.local', path: join(folder, 'late.ckpt') },
        { type: 'loader.weights_only' },
        { type: 'sink.publish', uri: join(folder, 'late.safetensors') },
      ],
    };
    const started = await runs.start(input, { workflowId: `late-${randomUUID().slice(0, 8)}` });
    while ((await runs.status(started)).status !== 'waiting') await page.waitForTimeout(100);

    await open(started.workflowId, 'User Metadata');
    const details = await rendered('Waits for an answer');
    expect(details).toContain('stage 1, source.local, failed. There is no file');
    for (const action of ['retry', 'skip', 'abort']) expect(details).toContain(`{"action":"${action}"}`);
    expect(details).toMatch(/1\s+source\.local\s+\? waiting/);
    await screenshot('waiting-details');

    await page.goto(`${ui}?query=${encodeURIComponent("CheckpointStatus = 'waiting'")}`);
    await page.getByRole('link', { name: started.workflowId }).first().waitFor(DRAWN);
    await runs.resolveFailure(started.workflowId, { action: 'abort' });
    await runs.settled(started);
  },
  LONG,
);
