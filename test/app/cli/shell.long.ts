/** The command line in a shell: completions asked of real shells, examples in every help, nearest names, colours. */
import { spawnSync } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ckpt, CLI } from '../../support/cli.ts';
import { fixture, PROJECT_ROOT } from '../../support/project.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-shell-'));
  // As an installed command.
  await writeFile(join(folder, 'ckpt'), `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`);
  await chmod(join(folder, 'ckpt'), 0o755);
  await writeFile(join(folder, 'pipeline.yaml'), '');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function run(...args: readonly string[]) {
  return ckpt(args, { cwd: folder, env: {} }).ended;
}

async function complete(...words: readonly string[]): Promise<readonly string[]> {
  const { code, stdout } = await run('complete', '--', ...words);
  expect(code).toBe(0);
  return stdout
    .trim()
    .split('\n')
    .map((line) => line.split('\t')[0]!);
}

test('commands, options, choices and files, where each fits', async () => {
  expect(await complete('con')).toEqual(['convert', ':end']);
  expect(await complete('batch', 're')).toEqual(['retry', 'resume', ':end']);
  expect(await complete('run', '--de')).toEqual(['--detach', '--debug', ':end']);
  expect(await complete('run', '--detach', '--det')).toEqual([':end']);
  expect(await complete('run', '--param', 'a=b', '--para')).toEqual(['--param', ':end']);
  expect(await complete('convert', 'a', 'b', '--format', 's')).toEqual(['state_dict', 'safetensors', ':end']);
  expect(await complete('convert', '--format=li')).toEqual(['--format=lightning', ':end']);
  // bash's words of `--format=li`.
  expect(await complete('convert', '--format', '=', 'li')).toEqual(['lightning', ':end']);
  expect(await complete('run', '')).toEqual([':files']);
  expect(await complete('scan', 'a.ckpt', '')).toEqual([':files']);
  expect(await complete('inspect', 'a.ckpt', '')).toEqual([':end']);
  expect(await complete('worker', '--storage', '')).toEqual([':files']);
  expect(await complete('worker', '--transfers', '')).toEqual([':end']);
  expect(await complete('status', '')).toEqual([':end']);
  expect(await complete('completion', '')).toEqual(['bash', 'zsh', 'fish', ':end']);
  expect(await complete('nonsense', '')).not.toContain('nonsense');
});

/** What a shell makes of it. `$(touch …)` on the line must stay what it is: text. */
const ASK: Readonly<Record<string, (words: readonly string[]) => string>> = {
  bash: (words) =>
    `source <(ckpt completion bash); COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _ckpt; printf '%s\\n' "\${COMPREPLY[@]}"`,
  zsh: (words) =>
    `compdef() { :; }; _describe() { print -rl -- "\${(@P)3%%:*}"; }; _files() { print -r -- :files; }; eval "$(ckpt completion zsh)"; words=(${words.map((word) => `'${word}'`).join(' ')}); CURRENT=${words.length}; _ckpt`,
  fish: (words) => `ckpt completion fish | source; complete -C '${words.join(' ').replaceAll("'", "\\'")}'`,
};

describe.each(Object.keys(ASK))('%s', (shell) => {
  const there = spawnSync(shell, ['-c', 'true']).status === 0;
  if (!there) process.stderr.write(`skipped: no ${shell} here to try completions in\n`);
  const ask = (...words: readonly string[]): readonly string[] => {
    const { stdout, stderr, status } = spawnSync(shell, [...(shell === 'zsh' ? ['-f'] : []), '-c', ASK[shell]!(words)], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, HOME: folder, PATH: `${folder}:${process.env['PATH']}` },
    });
    expect([stderr, status]).toEqual(['', 0]);
    return stdout
      .split('\n')
      .map((line) => line.split('\t')[0]!)
      .filter((line) => line !== '');
  };

  (there ? test : test.skip)('asks and shows', () => {
    expect(ask('ckpt', 'con')).toEqual(['convert']);
    expect([...ask('ckpt', 'batch', 're')].sort()).toEqual(['resume', 'retry']);
    expect([...ask('ckpt', 'convert', 'a', 'b', '--format', '')].sort()).toEqual(['lightning', 'pytorch', 'safetensors', 'state_dict']);
    if (shell === 'zsh') expect(ask('ckpt', 'run', '')).toEqual([':files']);
    if (shell === 'fish') expect(ask('ckpt', 'run', 'pipe')).toEqual(['pipeline.yaml']);
  });

  (there ? test : test.skip)('what was typed is not executed', () => {
    const trap = join(folder, `trap-${shell}`);
    ask('ckpt', 'run', `$(touch ${trap})`, '--de');
    expect(spawnSync('test', ['-e', trap]).status).toBe(1);
  });
});

test('every command shows examples, and what they use is there', async () => {
  const visit = async (path: readonly string[]): Promise<number> => {
    const { stdout, code } = await run(...path, '--help');
    expect(code).toBe(0);
    const [, examples = ''] = stdout.split('\nExamples:\n');
    const commands = (/\nCommands:\n([\s\S]*?)(\n\n|$)/.exec(stdout)?.[1] ?? '')
      .split('\n')
      .flatMap((line) => /^ {2}(\w+)/.exec(line)?.[1] ?? []);
    if (commands.length === 0)
      expect([path.join(' '), examples]).toEqual([path.join(' '), expect.stringContaining(`ckpt ${path.join(' ')}`)]);
    if (path.length > 0)
      for (const flag of examples.match(/(?<= )--[\w-]+/g) ?? [])
        expect([path.join(' '), stdout.split('\nExamples:')[0]]).toEqual([path.join(' '), expect.stringContaining(flag)]);
    const counts = await Promise.all(commands.filter((name) => name !== 'help').map((name) => visit([...path, name])));
    return counts.reduce((sum, count) => sum + count, 1);
  };
  expect(await visit([])).toBeGreaterThan(20);
}, 120_000);

test('the version is the package’s; the nearest name is asked for', async () => {
  const { stdout } = await run('--version');
  expect(stdout.trim()).toMatch(/^\d+\.\d+\.\d+/);
  expect(await run('inspcet', 'x')).toMatchObject({ code: 2, stderr: expect.stringContaining('Did you mean inspect?') });
  expect(await run('run', '--detahc', 'x')).toMatchObject({ code: 2, stderr: expect.stringContaining('Did you mean --detach?') });
});

describe('colours', () => {
  const terminal = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0;
  if (!terminal) process.stderr.write('skipped: no `script` here to bring up a terminal with\n');
  const onTerminal = (env: Readonly<Record<string, string>>): string => {
    const command = `'${process.execPath}' '${CLI}' doctor; '${process.execPath}' '${CLI}' inspect '${join(PROJECT_ROOT, 'nowhere.pt')}'`;
    const { NO_COLOR: _no, FORCE_COLOR: _force, CI: _ci, ...clean } = process.env;
    return spawnSync('script', ['-qec', command, '/dev/null'], {
      encoding: 'utf8',
      env: { ...clean, TERM: 'xterm-256color', XDG_STATE_HOME: folder, TEMPORAL_ADDRESS: '', ...env },
    }).stdout;
  };

  (terminal ? test : test.skip)('on a terminal, unless NO_COLOR is set or it has none', () => {
    const escape = '\u001b[';
    const colored = onTerminal({});
    expect(colored).toContain(`${escape}32m✔${escape}39m`);
    expect(colored).toContain(`${escape}31mCheckpointNotFoundError${escape}39m`);
    expect(onTerminal({ NO_COLOR: '1' })).toContain('✔ node');
    expect(onTerminal({ NO_COLOR: '1' })).not.toContain(escape);
    expect(onTerminal({ TERM: 'dumb' })).not.toContain(escape);
  });

  test('never into a file or a pipe', async () => {
    expect((await run('doctor')).stdout).not.toContain('\u001b');
    expect((await run('inspect', fixture('nowhere.pt'))).stderr).not.toContain('\u001b');
  });
});
