/** The partial file of a publish that goes on in a local folder. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Bytes that it has; null where there is none. */
export async function partialSize(folder: string): Promise<number | null> {
  const names = await readdir(folder).catch(() => []);
  const aside = names.find((name) => /\.[0-9a-f]{16}\.partial$/.test(name));
  if (aside === undefined) return null;
  const files = (await readdir(join(folder, aside)).catch(() => [])).filter((name) => /^[0-9a-f]{8}$/.test(name));
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(folder, aside, name)).catch(() => null))?.size ?? 0));
  return sizes.length === 0 ? null : Math.max(...sizes);
}
