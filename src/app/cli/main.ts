#!/usr/bin/env node
/** `ckpt`: exit 0 success, 1 the pipeline failed, 2 the command or configuration is wrong. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { printError, exitCodeOf } from './output.ts';

interface Common {
  readonly json?: boolean;
  readonly debug?: boolean;
}

const program = new Command('ckpt')
  .description('Turn training checkpoints into ready-to-load ones, as durable Temporal workflows.')
  .configureHelp({ showGlobalOptions: true })
  .option('--debug', 'stack traces and a debug log on stderr')
  .exitOverride();

const plugins = (): Option =>
  new Option('--plugins <path>', 'module, package or folder with further stages; may be given again').argParser<readonly string[]>(
    (path, before = []) => [...before, path],
  );

const parameter = (): Option =>
  new Option('--param <name=value>', 'value of ${param.name} in the document; may be given again').argParser<
    Readonly<Record<string, string>>
  >((text, before = {}) => {
    const at = text.indexOf('=');
    if (at < 1) throw new InvalidArgumentError('Expected name=value.');
    return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
  });

const json = (): Option => new Option('--json', 'one JSON document on stdout');

program
  .command('run')
  .argument('<pipeline>', 'pipeline document (YAML or JSON)')
  .description('run a pipeline and wait for its end')
  .addOption(json())
  .option('--detach', 'start it, print its id, and leave it to the workers')
  .option('--id <workflow-id>', 'workflow id; default: made from the name of the pipeline')
  .option('--worker', 'run a worker in this process also for a configured server')
  .addOption(parameter())
  .addOption(plugins())
  .action(async (file: string, _options, command: Command) => (await import('./commands/run.ts')).run(file, command.optsWithGlobals()));

program
  .command('inspect')
  .argument('<uri>', 'checkpoint: path or URI')
  .description('show what a checkpoint holds, from its header alone')
  .addOption(json())
  .action(async (uri: string, _options, command: Command) =>
    (await import('./commands/inspect.ts')).inspect(uri, command.optsWithGlobals()),
  );

program
  .command('validate')
  .argument('<pipeline>', 'pipeline document (YAML or JSON)')
  .description('check a pipeline document without running it')
  .addOption(json())
  .addOption(parameter())
  .addOption(plugins())
  .action(async (file: string, _options, command: Command) =>
    (await import('./commands/validate.ts')).validate(file, command.optsWithGlobals()),
  );

program
  .command('stages')
  .description('list the stage types and their options')
  .addOption(json())
  .addOption(plugins())
  .action(async (_options, command: Command) => (await import('./commands/stages.ts')).stages(command.optsWithGlobals()));

program
  .command('worker')
  .description('run a worker until stopped')
  .option('--check', 'run none: exit 0 if a worker of this machine polls the task queue')
  .addOption(plugins())
  .action(async (_options, command: Command) => (await import('./commands/worker.ts')).worker(command.optsWithGlobals()));

program
  .command('dev')
  .description('keep an embedded server, its UI and a worker up until stopped')
  .addOption(plugins())
  .action(async (_options, command: Command) => (await import('./commands/worker.ts')).worker(command.optsWithGlobals()));

program
  .command('status')
  .argument('<workflow-id>')
  .description('stages, outputs and error of a run')
  .addOption(json())
  .action(async (id: string, _options, command: Command) => (await import('./commands/status.ts')).status(id, command.optsWithGlobals()));

program
  .command('cancel')
  .argument('<workflow-id>')
  .description('cancel a run; what it had not finished is removed')
  .addOption(json())
  .action(async (id: string, _options, command: Command) => (await import('./commands/status.ts')).cancel(id, command.optsWithGlobals()));

/** Libraries' deprecation and version warnings are not the user's business. */
process.removeAllListeners('warning');

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    const options: Common = program.commands.find((command) => process.argv.includes(command.name()))?.optsWithGlobals() ?? program.opts();
    printError(error, options);
    process.exitCode = exitCodeOf(error);
  }
}
