/**
 * The report as one file: the page made at build time, with its contents put in.
 *
 * Invariant: contents go in as base64 of compressed JSON, the title as escaped text; so nothing that a file or a user has
 * written can be markup, and a report of 100,000 tensors stays within a few megabytes.
 */
import { deflateSync } from 'node:zlib';
import type { Contents } from './contents.ts';

/** Where title and contents go in `template.html`. */
const TITLE = '<!--title-->';
const CONTENTS = '<!--contents-->';

export function reportPage(template: string, contents: Contents): string {
  const packed = deflateSync(JSON.stringify(contents), { level: 9 }).toString('base64');
  // Functions: in a replacement text, `$&` and its like would be read as patterns.
  return template.replace(TITLE, () => escapeHtml(titleOf(contents))).replace(CONTENTS, () => packed);
}

function titleOf(contents: Contents): string {
  const status = contents.kind === 'run' ? contents.status : contents.result.status;
  return `${contents.workflowId}: ${status}`;
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (mark) => `&#${mark.charCodeAt(0)};`);
}
