/**
 * What may follow on a command line, from the tree of commands itself: the scripts of the shells ask `ckpt complete -- WORDS…`
 * at every TAB, so that they are never behind.
 *
 * Invariant: what was typed is data. No script evaluates it, and nothing here opens a file or asks a server.
 */
import type { Command, Option } from 'commander';

export interface Completions {
  /** Each with its description; all begin with the word that is being typed. */
  readonly items: readonly (readonly [value: string, description: string])[];
  /** The shell's own names of files fit as well. */
  readonly files: boolean;
}

const NOTHING: Completions = { items: [], files: false };
const FILES: Completions = { items: [], files: true };
/** Arguments that name no file. */
const NO_FILES =
  /^(workflow-id|schedule-id|expression|time|policy|text|shell|words|name|number|days|size|port|id|option=value|name=value)$/;

/** `words`: after the program's name; the last one is being typed and may be empty. */
export function completionsOf(program: Command, words: readonly string[]): Completions {
  const typed = words.at(-1) ?? '';
  let command = program;
  let given = 0;
  let open: Option | null = null;
  for (const word of words.slice(0, -1)) {
    // bash makes a word of its own of the sign in --option=value.
    if (word === '=') continue;
    if (open !== null) open = null;
    else if (word.startsWith('-')) open = word.includes('=') ? null : takesValue(command, word);
    else {
      const sub = command.commands.find((one) => one.name() === word);
      if (sub === undefined) given++;
      else command = sub;
    }
  }
  if (open !== null) return valuesOf(open, typed === '=' ? '' : typed, '');
  const [, flag, value] = /^(--[\w-]+)=(.*)$/.exec(typed) ?? [];
  if (flag !== undefined) {
    const option = takesValue(command, flag);
    return option === null ? NOTHING : valuesOf(option, value!, `${flag}=`);
  }
  if (typed.startsWith('-')) return { items: optionsOf(command, typed, words.slice(0, -1)), files: false };
  const subcommands = visible(command).filter((one) => one.name().startsWith(typed));
  if (command.commands.length > 0) return { items: subcommands.map((one) => [one.name(), one.description()]), files: false };
  const argument = command.registeredArguments[given] ?? command.registeredArguments.findLast(({ variadic }) => variadic);
  if (argument === undefined) return NOTHING;
  const { argChoices: choices } = argument;
  if (choices !== undefined) return { items: begin(choices, typed, ''), files: false };
  return NO_FILES.test(argument.name()) ? NOTHING : FILES;
}

/** Of the command and of those above it. */
function allOptions(command: Command): readonly Option[] {
  const own = command.createHelp().visibleOptions(command);
  return command.parent === null
    ? own
    : [...own, ...allOptions(command.parent).filter(({ long }) => !own.some((one) => one.long === long))];
}

function takesValue(command: Command, flag: string): Option | null {
  const option = allOptions(command).find(({ long, short }) => long === flag || short === flag);
  // One whose value may be left out is taken to have none, unless it is joined to it.
  return option?.required === true ? option : null;
}

function valuesOf({ argChoices: choices, flags }: Option, typed: string, prefix: string): Completions {
  if (choices !== undefined) return { items: begin(choices, typed, prefix), files: false };
  const what = /<([^>]+)>/.exec(flags)?.[1] ?? '';
  return NO_FILES.test(what) ? NOTHING : FILES;
}

function begin(choices: readonly string[], typed: string, prefix: string): Completions['items'] {
  return choices.filter((choice) => choice.startsWith(typed)).map((choice) => [`${prefix}${choice}`, '']);
}

function optionsOf(command: Command, typed: string, used: readonly string[]): Completions['items'] {
  return allOptions(command)
    .filter(({ long, description }) => long != null && long.startsWith(typed) && (!used.includes(long) || description.includes('again')))
    .map(({ long, description }) => [long!, description]);
}

function visible(command: Command): readonly Command[] {
  return command.createHelp().visibleCommands(command);
}

/** The last line tells of files. */
export function completionText({ items, files }: Completions): string {
  return [...items.map(([value, description]) => `${value}\t${description}`), files ? ':files' : ':end', ''].join('\n');
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
