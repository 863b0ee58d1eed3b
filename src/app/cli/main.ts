#!/usr/bin/env node
/** `ckpt`: exit 0 success, 1 the pipeline failed, 2 the command or configuration is wrong. */
import { Argument, Command, CommanderError, Option } from 'commander';
import { CheckpointConfigError, isCheckpointError, reportOf } from '../../errors.ts';
import { packageVersion } from '../../io/package-version.ts';
import { FORMATS } from '../../model/header.ts';
import { lostError } from '../temporal/lost.ts';
import { isNamespaceMissing, namespaceError } from '../temporal/namespace.ts';
import { checkArguments } from './check-arguments.ts';
import { SHELLS } from './completion.ts';
import { addExamples } from './examples.ts';
import { assignment, json, parameter, plugins, seconds, stateDictKey } from './options.ts';
import { note, printError, printJson, exitCodeOf } from './output.ts';
import { addSchedule } from './schedule-commands.ts';

interface Common {
  readonly json?: boolean;
  readonly debug?: boolean;
}

const program = new Command('ckpt')
  .description('Turn training checkpoints into ready-to-load ones, as durable Temporal workflows.')
  .version(packageVersion())
  .configureHelp({ showGlobalOptions: true })
  .option('--debug', 'stack traces and a debug log on stderr')
  .exitOverride();

program
  .command('run')
  .argument('<pipeline>', 'pipeline document (YAML or JSON)')
  .description('run a pipeline and wait for its end')
  .addOption(json())
  .option('--detach', 'start it, print its id, and leave it to the workers')
  .option('--id <workflow-id>', 'workflow id; default: made from the name of the pipeline')
  .option('--worker', 'run a worker in this process also for a configured server')
  .option('--no-report', 'leave no report beside the outputs')
  .addOption(parameter())
  .addOption(plugins())
  .action(async (file: string, _options, command: Command) => (await import('./commands/run.ts')).run(file, command.optsWithGlobals()));

program
  .command('convert')
  .argument('<in>', 'checkpoint: path or URI')
  .argument('<out>', 'where to publish')
  .description('convert a checkpoint: the pipeline of a source, a loader and a sink, in one line')
  .addOption(json())
  .addOption(
    new Option(
      '--format <format>',
      'default: by the name of <out>: .ckpt lightning; .pt, .pth pytorch; .bin state_dict; .safetensors or no extension safetensors',
    ).choices([...FORMATS]),
  )
  .option('--weights-only', 'leave training state out, also where the format keeps it by default (lightning)')
  .option('--training-state', 'keep training state also for pytorch')
  .option('--shard-size <size>', 'most bytes of tensors in a file (5GB, 512MiB); safetensors only')
  .option('--skip-unsupported', 'leave out tensors without a plain dense form')
  .addOption(stateDictKey())
  .option('--worker', 'run a worker in this process also for a configured server')
  .option('--no-report', 'leave no report beside the output')
  .action(async (from: string, to: string, _options, command: Command) =>
    (await import('./commands/convert.ts')).convert(from, to, command.optsWithGlobals()),
  );

program
  .command('diff')
  .argument('<source>', 'checkpoint: path or URI')
  .argument('<target>', 'checkpoint: path or URI')
  .description('compare the weights of two checkpoints; exit 1 where they differ')
  .addOption(json())
  .option('--values', 'compare the values, too: reads every tensor')
  .addOption(stateDictKey())
  .option('--target-state-dict-key <key>', 'the same for the target')
  .action(async (source: string, target: string, _options, command: Command) =>
    (await import('./commands/diff.ts')).diff(source, target, command.optsWithGlobals()),
  );

program
  .command('verify')
  .argument('<uri>', 'checkpoint: path or URI')
  .description('read every tensor: structure, checksums, manifest, NaN and infinite values; exit 1 on a finding')
  .addOption(json())
  .option('--manifest [file]', 'the manifest must be there; default: it is compared where one is beside the file')
  .addOption(stateDictKey())
  .action(async (uri: string, _options, command: Command) => (await import('./commands/verify.ts')).verify(uri, command.optsWithGlobals()));

program
  .command('inspect')
  .argument('<uri>', 'checkpoint: path or URI')
  .description('show what a checkpoint holds, from its header alone')
  .addOption(json())
  .addOption(stateDictKey())
  .action(async (uri: string, _options, command: Command) =>
    (await import('./commands/inspect.ts')).inspect(uri, command.optsWithGlobals()),
  );

program
  .command('scan')
  .argument('<uri...>', 'checkpoints, or folders and S3 prefixes (`…/`) of them')
  .description('judge every name in the pickles of checkpoints; exit 1 on anything but safe')
  .addOption(json())
  .addOption(new Option('--sarif', 'SARIF 2.1.0 on stdout').conflicts('json'))
  .action(async (uris: string[], _options, command: Command) => (await import('./commands/scan.ts')).scan(uris, command.optsWithGlobals()));

program
  .command('validate')
  .argument('<document>', 'document of a pipeline, batch or schedule (YAML or JSON)')
  .description('check a document without running it')
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
  .option('--storage <file>', 'storage settings: how to reach S3 stores, and what the worker may reach; default: CKPT_STORAGE')
  .option('--refuse-unknown', 'refuse checkpoints that name classes on no list of harmless ones')
  .option('--transfers <number>', 'activities at a time that move tensor bytes; 0: none; default: 4')
  .option('--activities <number>', 'other activities at a time; 0: none, and no workflows; default: 100')
  .option(
    '--memory <size>',
    'above this size of the process (2GiB), run one activity at a time of each queue; bounds transfers to what fits',
  )
  .option('--health-port <port>', 'answer /healthz and /readyz there: port, or address:port')
  .option('--metrics-port <port>', 'serve Prometheus metrics at /metrics there: port, or address:port')
  .option('--deployment <name>', 'worker deployment that this worker belongs to; with --build-id')
  .option('--build-id <id>', 'its version')
  .option(
    '--check',
    'run none: exit 0 if the worker at --health-port is ready; without it, if one of this machine has asked the server for work in the last minute and a half',
  )
  .addOption(plugins())
  .action(async (_options, command: Command) => (await import('./commands/worker.ts')).worker(command.optsWithGlobals()));

program
  .command('dev')
  .description('keep an embedded server, its UI and a worker up until stopped')
  .addOption(plugins())
  .action(async (_options, command: Command) => (await import('./commands/worker.ts')).worker(command.optsWithGlobals()));

program
  .command('gc')
  .description('remove workspace blobs that no open run refers to')
  .addOption(json())
  .option('--older-than <days>', 'those last used so many days ago', '30')
  .option('--dry-run', 'only count them')
  .action(async (_options, command: Command) => (await import('./commands/gc.ts')).gc(command.optsWithGlobals()));

program
  .command('status')
  .argument('<workflow-id>')
  .description('stages, progress, outputs and error of a run')
  .addOption(json())
  .action(async (id: string, _options, command: Command) => (await import('./commands/status.ts')).status(id, command.optsWithGlobals()));

program
  .command('cancel')
  .argument('<workflow-id>')
  .description('cancel a run; what it had not finished is removed')
  .addOption(json())
  .action(async (id: string, _options, command: Command) => (await import('./commands/status.ts')).cancel(id, command.optsWithGlobals()));

program
  .command('resolve')
  .argument('<workflow-id>')
  .description('answer a run that waits (`on_error: wait`)')
  .addOption(json())
  .option('--retry', 'try the failed stage again')
  .option('--skip', 'go on without what the stage would have changed')
  .option('--abort', 'end the run with the error of the stage')
  .addOption(assignment('--set <option=value>', 'with --retry: another value for an option of the stage, as YAML; null takes it away'))
  .addOption(plugins())
  .action(async (id: string, _options, command: Command) => (await import('./commands/resolve.ts')).resolve(id, command.optsWithGlobals()));

program
  .command('report')
  .argument('<workflow-id>')
  .description('the report of a run or batch that the server still knows, as one HTML file')
  .addOption(json())
  .option('-o, --output <file>', 'default: <workflow-id>.report.html')
  .action(async (id: string, _options, command: Command) => (await import('./commands/report.ts')).report(id, command.optsWithGlobals()));

program
  .command('bundle')
  .argument('<workflow-id>')
  .description('a run or batch as one zip: report, manifest, pipeline, plan, and the histories that `ckpt replay` takes')
  .addOption(json())
  .option('-o, --output <file>', 'default: <workflow-id>.zip')
  .action(async (id: string, _options, command: Command) => (await import('./commands/bundle.ts')).bundle(id, command.optsWithGlobals()));

program
  .command('replay')
  .argument('<bundle>', 'zip of `ckpt bundle`')
  .description('replay the histories in a bundle against the installed workflow code; exit 1 where it takes other steps')
  .addOption(json())
  .addOption(seconds('--timeout <seconds>', 'give up where one history takes longer').default(120))
  .action(async (file: string, _options, command: Command) =>
    (await import('./commands/bundle.ts')).replay(file, command.optsWithGlobals()),
  );

const batch = program.command('batch').description('one pipeline for each of many checkpoints');

batch
  .command('run')
  .argument('<batch>', 'batch document (YAML or JSON)')
  .description('run a batch and wait for its end; exit 1 where an item failed')
  .addOption(json())
  .option('--detach', 'start it, print its id, and leave it to the workers')
  .option('--id <workflow-id>', 'workflow id; default: made from the name of the batch')
  .option('--worker', 'run a worker in this process also for a configured server')
  .option('--no-report', 'leave no report beside the results')
  .addOption(parameter())
  .addOption(plugins())
  .action(async (file: string, _options, command: Command) =>
    (await import('./commands/batch.ts')).runBatch(file, command.optsWithGlobals()),
  );

batch
  .command('retry')
  .argument('<workflow-id>')
  .description('a new batch of what failed, was cancelled or not started in one that has ended')
  .addOption(json())
  .option('--detach', 'start it, print its id, and leave it to the workers')
  .option('--id <workflow-id>', 'workflow id of the new batch')
  .option('--worker', 'run a worker in this process also for a configured server')
  .option('--no-report', 'leave no report beside the results')
  .addOption(plugins())
  .action(async (id: string, _options, command: Command) =>
    (await import('./commands/batch.ts')).retryBatch(id, command.optsWithGlobals()),
  );

batch
  .command('status')
  .argument('<workflow-id>')
  .description('totals, pace and last failures')
  .addOption(json())
  .action(async (id: string, _options, command: Command) =>
    (await import('./commands/batch.ts')).batchStatus(id, command.optsWithGlobals()),
  );

for (const [what, description] of [
  ['pause', 'start no more items'],
  ['resume', 'go on after a pause'],
  ['cancel', 'cancel the batch and its children'],
] as const)
  batch
    .command(what)
    .argument('<workflow-id>')
    .description(description)
    .addOption(json())
    .action(async (id: string, _options, command: Command) =>
      (await import('./commands/batch.ts')).tell(what, id, command.optsWithGlobals()),
    );

addSchedule(program);

program
  .command('doctor')
  .argument('[place...]', 'further folders and s3://bucket/ to look at')
  .description('look at all that runs depend on, and say what to do; exit 1 where something will not work')
  .addOption(json())
  .option('--storage <file>', 'storage settings; default: CKPT_STORAGE')
  .action(async (places: string[], _options, command: Command) =>
    (await import('./commands/doctor.ts')).doctor(places, command.optsWithGlobals()),
  );

program
  .command('setup')
  .description('register the search attributes of runs on the server')
  .addOption(json())
  .option('--nexus-endpoint <name>', 'also create a Nexus endpoint, for workflows of other namespaces')
  .action(async (_options, command: Command) => (await import('./commands/setup.ts')).setup(command.optsWithGlobals()));

program
  .command('completion')
  .addArgument(new Argument('<shell>').choices(SHELLS))
  .description('print a script that completes commands and options for a shell')
  .action(async (shell: string) => (await import('./commands/completion.ts')).completion(shell));

program
  .command('complete', { hidden: true })
  .argument('[words...]')
  .action(async (words: string[]) => (await import('./commands/completion.ts')).complete(words, program));

addExamples(program);

/**
 * Whoever reads along may leave early (`| head`): the command goes on to its end, and its exit code counts. It goes on, too, where the
 * disk behind stdout is full or fails, and then has failed: what was asked for is not all there.
 */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') unwritten ??= error;
});
process.stderr.on('error', () => undefined);
let unwritten: Error | undefined;
process.once('exit', (code) => {
  if (unwritten === undefined) return;
  note(`CheckpointError: what was printed on stdout is not all there: ${unwritten.message}. Make room for it, or send it elsewhere.`);
  if (code === 0) process.exitCode = 1;
});

/** Libraries' deprecation and version warnings are not the user's business. */
process.removeAllListeners('warning');

/** What an error is printed for; an argument may have the name of another command. */
let running = program;
program.hook('preAction', (_, command) => {
  running = command;
  // Words that are to be completed are none yet.
  if (command.name() !== 'complete') checkArguments(command);
});

/** Help on a command that is not there: that is said, as of any such command. */
function asked(words: readonly string[]): readonly string[] {
  const [first, name] = words;
  const unknown = name !== undefined && name !== 'help' && program.commands.every((command) => command.name() !== name);
  return first === 'help' && unknown ? words.slice(1) : words;
}

/** Any call to a server may find that the namespace is not there, or the server no more. */
async function explained(error: unknown): Promise<unknown> {
  if (!isNamespaceMissing(error)) return isCheckpointError(error) ? error : lostError(error);
  return namespaceError(error, (await import('../temporal/connect.ts')).configuredNamespace());
}

try {
  await program.parseAsync(asked(process.argv.slice(2)), { from: 'user' });
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
    // The line for people is on stderr already; who reads stdout gets the document that every other error is.
    if (error.exitCode !== 0 && process.argv.includes('--json'))
      printJson({ error: reportOf(new CheckpointConfigError(error.message.replace(/^error: /, ''))) });
  } else {
    const told = await explained(error);
    printError(told, running.optsWithGlobals<Common>());
    process.exitCode = exitCodeOf(told);
  }
}
