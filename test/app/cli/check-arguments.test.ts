/** Slips on the command line, that would otherwise mean another place. */
import { expect, test } from '@jest/globals';
import { Command } from 'commander';
import { checkArguments } from '../../../src/app/cli/check-arguments.ts';

/** Whether what is given is taken: null, or why not. */
function refused(...words: readonly string[]): string | null {
  const command = new Command('x')
    .argument('[in]')
    .argument('[uri...]')
    .option('-o, --output <file>')
    .option('--id <id>')
    .option('--state-dict-key <key>')
    .option('--json')
    .action(() => undefined);
  command.parse(words, { from: 'user' });
  try {
    checkArguments(command);
    return null;
  } catch (error) {
    expect(error).toMatchObject({ code: 'CheckpointConfigError' });
    return (error as Error).message;
  }
}

test.each([
  [[''], '`<in>` is empty. Is a variable not set?'],
  [['a', ''], '`<uri>` is empty'],
  [['a', 'b', ''], '`<uri>` is empty'],
  [['a', '--output', ''], '`--output` is empty'],
  [['-'], '`<in>` is `-`: nothing is read from stdin or written to stdout. Write `./-`'],
  [['a', '-'], '`<uri>` is `-`'],
  [['a', '-o', '-'], '`--output` is `-`'],
])('%j is refused', (words, message) => {
  expect(refused(...words)).toContain(message);
});

test.each([[[]], [['a', 'b', '-o', './-']], [['.']], [['a', '--state-dict-key', '', '--json']], [['a', '--id', '-']], [['a', '--id=']]])(
  '%j is taken',
  (words) => {
    expect(refused(...words)).toBeNull();
  },
);
