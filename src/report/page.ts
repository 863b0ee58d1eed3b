/**
 * The report as one file: the page made at build time, with its contents put in.
 *
 * Invariant: contents go in as base64 of compressed JSON and of digests, the title as escaped text; so nothing that a file or a user
 * has written can be markup, and a report of 100,000 tensors stays within a few megabytes.
 */
import { deflateSync } from 'node:zlib';
import type { Contents } from './contents.ts';
import { packContents } from './packed.ts';

/** Where title, contents and digests go in `template.html`. */
const TITLE = '<!--title-->';
const CONTENTS = '<!--contents-->';
const DIGESTS = '<!--digests-->';

/** Names of tensors are so alike that more effort makes them little smaller, in three times the time. */
const LEVEL = 1;

export function reportPage(template: string, contents: Contents): string {
  const { packed, digests } = packContents(contents);
  const deflated = deflateSync(JSON.stringify(packed), { level: LEVEL }).toString('base64');
  // Functions: in a replacement text, `$&` and its like would be read as patterns.
  return template
    .replace(TITLE, () => escapeHtml(titleOf(contents)))
    .replace(CONTENTS, () => deflated)
    .replace(DIGESTS, () => Buffer.from(digests, 'hex').toString('base64'));
}

function titleOf(contents: Contents): string {
  const status = contents.kind === 'run' ? contents.status : contents.result.status;
  return `${contents.workflowId}: ${status}`;
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);
}
