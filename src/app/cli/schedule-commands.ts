/** The command lines of `ckpt schedule`. */
import { Option, type Command } from 'commander';
import { OVERLAPS } from '../../pipeline/schedule.ts';
import { collected, count, json, parameter, plugins } from './options.ts';

const overlap = (description: string): Option => new Option('--overlap <policy>', description).choices([...OVERLAPS]);

export function addSchedule(program: Command): Command {
  const schedule = program.command('schedule').description('pipelines and batches that start by themselves');
  const commands = async () => import('./commands/schedule.ts');
  const one = (name: string, description: string): Command =>
    schedule.command(name).argument('<schedule-id>').description(description).addOption(json());

  schedule
    .command('apply')
    .argument('<schedule>', 'schedule document (YAML or JSON)')
    .description('create a schedule, or make the one of that id say what the document says')
    .addOption(json())
    .addOption(parameter())
    .addOption(plugins())
    .action(async (file: string, _options, command: Command) => (await commands()).apply(file, command.optsWithGlobals()));

  const settings = (command: Command): Command =>
    command
      .option('--pipeline <file>', 'what runs: a pipeline document')
      .option('--batch <file>', 'what runs: a batch document')
      .addOption(new Option('--cron <expression>', 'when, such as "0 3 * * *"; may be given again').argParser<readonly string[]>(collected))
      .option('--every <time>', 'when, in place of --cron: 90s, 15m, 6h, 1d')
      .option('--offset <time>', 'with --every: so long after the full interval')
      .option('--time-zone <name>', 'of --cron; default UTC')
      .option('--jitter <time>', 'each start is put off by chance, at most so long')
      .addOption(overlap('where the run before has not ended; default skip'))
      .option('--catch-up <time>', 'how old a missed start may be to be made up for; default a year')
      .option('--note <text>', 'for people')
      .addOption(parameter())
      .addOption(plugins());

  settings(one('create', 'create a schedule; the same again changes nothing'))
    .option('--paused', 'it waits for `unpause`')
    .action(async (id: string, _options, command: Command) => (await commands()).create(id, command.optsWithGlobals()));
  settings(one('update', 'change what is given, and keep the rest')).action(async (id: string, _options, command: Command) =>
    (await commands()).update(id, command.optsWithGlobals()),
  );

  schedule
    .command('list')
    .description('all schedules, with their next start and last run')
    .addOption(json())
    .action(async (_options, command: Command) => (await commands()).list(command.optsWithGlobals()));
  one('describe', 'when it starts, and what the last ten runs came to').action(async (id: string, _options, command: Command) =>
    (await commands()).describe(id, command.optsWithGlobals()),
  );
  one('pause', 'start no more runs; a backfill under way goes on')
    .option('--note <text>', 'why')
    .action(async (id: string, _options, command: Command) => (await commands()).pause(id, command.optsWithGlobals()));
  one('unpause', 'go on after a pause')
    .option('--note <text>', 'why')
    .action(async (id: string, _options, command: Command) => (await commands()).unpause(id, command.optsWithGlobals()));
  one('trigger', 'start a run now, also of a paused schedule')
    .addOption(overlap("where the run before has not ended; default: the schedule's own"))
    .action(async (id: string, _options, command: Command) => (await commands()).trigger(id, command.optsWithGlobals()));
  one('backfill', 'start what it would have started between two times')
    .requiredOption('--from <time>', 'such as 2026-11-01 or 2026-11-01T03:00:00Z')
    .requiredOption('--to <time>', 'the same')
    .addOption(overlap('of these runs; default buffer_all: one after the other'))
    .addOption(count('--most <starts>', 'refuse a backfill of more; default 1000'))
    .action(async (id: string, _options, command: Command) => (await commands()).backfill(id, command.optsWithGlobals()));
  one('delete', 'delete a schedule, and stop its backfill; runs under way go on').action(async (id: string, _options, command: Command) =>
    (await commands()).remove(id, command.optsWithGlobals()),
  );
  return schedule;
}
