/** Unpacks the contents and draws the report. Runs in the browser, on what lies in the page alone. */
import type { Contents } from '../contents.ts';
import { unpackContents, type PackedContents } from '../packed.ts';
import { batchSections } from './batch-page.ts';
import { facts, h } from './element.ts';
import { runSections } from './run-page.ts';
import { between, formatDuration, formatTime } from './text.ts';

const SIGNS: Readonly<Record<string, string>> = { completed: '✔', unchanged: '=', failed: '✖', cancelled: '■', waiting: '?', running: '▶' };

async function contentsIn(page: Document): Promise<Contents> {
  const packed = new Blob([bytesIn(page, 'contents')]).stream().pipeThrough(new DecompressionStream('deflate'));
  // Made by `reportPage` of the same version.
  const contents = JSON.parse(await new Response(packed).text()) as PackedContents;
  return unpackContents(contents, bytesIn(page, 'tensor-digests'));
}

function bytesIn(page: Document, id: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(page.getElementById(id)!.textContent), (character) => character.charCodeAt(0));
}

function draw(contents: Contents): void {
  const status = contents.kind === 'run' ? contents.status : contents.result.status;
  const sections = contents.kind === 'run' ? runSections(contents) : batchSections(contents);
  const links = sections.map((one) => h('li', {}, h('a', { href: `#${one.id}` }, one.querySelector('h2')!.textContent)));
  const times = timesOf(contents);
  document.getElementById('report')!.replaceWith(
    h(
      'header',
      {},
      h('p', { class: 'kind' }, contents.kind === 'run' ? 'Checkpoint pipeline run' : 'Checkpoint batch'),
      h(
        'h1',
        {},
        contents.name ?? contents.workflowId,
        ' ',
        h('span', { class: `badge is-${status}` }, `${SIGNS[status] ?? '·'} ${status}`),
      ),
      facts([
        ['workflow', contents.workflowId],
        ['run', contents.runId],
        ['started', times.started === null ? null : formatTime(times.started)],
        ['took', times.took === null ? null : formatDuration(times.took)],
      ]),
      ...contents.gaps.map((gap) => h('p', { class: 'gap' }, gap)),
    ),
    h('nav', { 'aria-label': 'Sections', class: 'sections' }, h('ul', {}, ...links)),
    h('main', { id: 'main', tabindex: -1 }, ...sections),
    h(
      'footer',
      {},
      h(
        'p',
        {},
        `Made ${formatTime(contents.created)} by checkpoint-pipeline ${contents.version}. Nothing in the checkpoint was executed; this page loads nothing.`,
      ),
    ),
  );
}

function timesOf(contents: Contents): { readonly started: string | null; readonly took: number | null } {
  if (contents.kind === 'batch') return { started: contents.started, took: between(contents.started, contents.ended) };
  const begun = contents.stages.flatMap(({ started }) => (started === null ? [] : [started])).sort();
  const ended = contents.stages.flatMap(({ ended: at }) => (at === null ? [] : [at])).sort();
  return { started: begun[0] ?? null, took: between(begun[0] ?? null, ended.at(-1) ?? null) };
}

// Paper shows what is folded away, too.
const opened: HTMLDetailsElement[] = [];
addEventListener('beforeprint', () => {
  for (const details of document.querySelectorAll('details:not([open])')) {
    opened.push(details as HTMLDetailsElement);
    (details as HTMLDetailsElement).open = true;
  }
});
addEventListener('afterprint', () => {
  for (const details of opened.splice(0)) details.open = false;
});

contentsIn(document).then(draw, (error: unknown) => {
  document.getElementById('report')!.append(h('p', { role: 'alert' }, `This report is damaged: ${String(error)}`));
});
