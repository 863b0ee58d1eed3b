/** Options that several commands have. */
import { InvalidArgumentError, Option } from 'commander';
import { absoluteLocation, callerFolder } from './paths.ts';

const again = 'may be given again';

export const plugins = (): Option =>
  new Option('--plugins <path>', `module, package or folder with further stages; ${again}`).argParser<readonly string[]>((text, before) => {
    if (text === '') throw new InvalidArgumentError('It is empty. Is a variable not set?');
    return collected(absoluteLocation(text, callerFolder()), before);
  });

/** `name=value`, collected in a mapping. */
export const assignment = (flags: string, description: string): Option =>
  new Option(flags, `${description}; ${again}`).argParser<Readonly<Record<string, string>>>((text, before = {}) => {
    const at = text.indexOf('=');
    if (at < 1) throw new InvalidArgumentError('Expected name=value.');
    return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
  });

export const parameter = (): Option => assignment('--param <name=value>', 'value of ${param.name} in the document');

export const stateDictKey = (): Option =>
  new Option('--state-dict-key <key>', 'where the weights lie: params_ema, or app.model for a dict in a dict; empty: at the top level');

export const json = (): Option => new Option('--json', 'one JSON document on stdout');

export function collected(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

export const count = (flags: string, description: string): Option =>
  new Option(flags, description).argParser<number>((text) => {
    const value = Number(text);
    if (!(Number.isSafeInteger(value) && value > 0)) throw new InvalidArgumentError('Expected a number, such as 1000.');
    return value;
  });

export const seconds = (flags: string, description: string): Option =>
  new Option(flags, description).argParser<number>((text) => {
    const value = Number(text);
    // What a timer takes.
    if (!(value > 0 && value <= 2_000_000)) throw new InvalidArgumentError('Expected a number of seconds.');
    return value;
  });
