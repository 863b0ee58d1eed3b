/** What was given on the command line and can only be a slip. */
import type { Command } from 'commander';
import { CheckpointConfigError } from '../../errors.ts';

/** Arguments and options that are files, folders or URIs. */
const LOCATIONS = `batch bundle document in manifest out output pipeline place schedule source storage target uri`.split(' ');

/** Throws `CheckpointConfigError` where an argument or a location is empty, or a location is `-`. */
export function checkArguments(command: Command): void {
  command.registeredArguments.forEach((argument, index) => {
    const given = [command.processedArgs[index] as unknown].flat();
    if (given.includes('')) throw new CheckpointConfigError(`\`<${argument.name()}>\` is empty. Is a variable not set?`);
    checkLocation(`<${argument.name()}>`, argument.name(), given);
  });
  for (const option of command.options)
    checkLocation(String(option.long), option.attributeName(), [command.getOptionValue(option.attributeName()) as unknown].flat());
}

function checkLocation(shown: string, name: string, given: readonly unknown[]): void {
  if (!LOCATIONS.includes(name)) return;
  // It would be the folder where the user stands.
  if (given.includes('')) throw new CheckpointConfigError(`\`${shown}\` is empty. Is a variable not set?`);
  if (given.includes('-'))
    throw new CheckpointConfigError(
      `\`${shown}\` is \`-\`: nothing is read from stdin or written to stdout. Write \`./-\` for a file of that name; a document can come from \`/dev/stdin\`.`,
    );
}
