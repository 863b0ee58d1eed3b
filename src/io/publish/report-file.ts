/** Reports beside outputs, and the page that they are made from. */
import { readFile } from 'node:fs/promises';

/** Made by scripts/bundle-report.mjs. */
const TEMPLATE = new URL('../../../report-page.html', import.meta.url);

/** The page without contents. */
export function reportTemplate(): Promise<string> {
  return readFile(TEMPLATE, 'utf8');
}

export function reportPath(uri: string): string {
  return `${uri}.report.html`;
}
