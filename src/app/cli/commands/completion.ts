/** `ckpt completion SHELL`, and what its scripts ask at every TAB. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { completionsOf, completionText } from '../completion.ts';

/** The scripts lie beside the package's other files, where packagers find them, too. */
const SCRIPTS = new URL('../../../../../completions/', import.meta.url);

export async function completion(shell: string): Promise<void> {
  process.stdout.write(await readFile(new URL(`ckpt.${shell}`, SCRIPTS)));
}

export function complete(words: readonly string[], program: Command): void {
  process.stdout.write(completionText(completionsOf(program, words)));
}
