/** Reports beside outputs, and the page that they are made from. */
import { readFile } from 'node:fs/promises';

/** Made by scripts/bundle-report.mjs. */
const TEMPLATE = new URL('../../report-page.html', import.meta.url);
const PACKAGE = new URL('../../../package.json', import.meta.url);

/** The page without contents. */
export function reportTemplate(): Promise<string> {
  return readFile(TEMPLATE, 'utf8');
}

export function reportPath(uri: string): string {
  return `${uri}.report.html`;
}

/** Of this installation: a report and a bundle say what made them. */
export async function ownVersion(): Promise<string> {
  // Ours, and it has one.
  return (JSON.parse(await readFile(PACKAGE, 'utf8')) as { readonly version: string }).version;
}
