/**
 * The shell commands of README.md and docs/. On the pages that lead by the hand every command is run, in order, as it stands; on the
 * others those of `ckpt` are held against its help. What can be neither is listed here with the reason.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateBucketCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ckpt, CLI, type Running } from '../support/cli.ts';
import { fixture, PROJECT_ROOT } from '../support/project.ts';
import { S3_SETUP_TIMEOUT, startS3Server, type S3TestServer } from '../support/s3-server.ts';
import { helpOf } from './reference.ts';

const LONG = 600_000;
/** A bound against hangs. */
const UP = 120_000;

/** Run from top to bottom, in one folder. */
const RUN = ['README.md', 'docs/guide.md', 'docs/reports.md'];

const NOT_HERE: readonly (readonly [RegExp, string])[] = [
  [
    /^npm (start|install|run build|ci)\b/,
    'installs and builds this clone, which is what runs; test/e2e/examples.test.ts runs the examples',
  ],
  [/^npm (test|run)\b/, 'runs tests, or writes to this clone'],
  [/^docker\b/, 'needs Docker; test/deployment/container.test.ts'],
  [/^temporal\b/, "Temporal's own program, at a server with worker versions"],
  [/^TEMPORAL_ADDRESS=\S+ (sh|python) examples\//, 'other programs; test/e2e/languages.test.ts'],
  [/^export /, 'this test has its own server and stores'],
  [/^(curl|pip|python3?|kubectl|source|eval|mkdir|cd|echo|complete)\b/, 'no command of ours'],
  [
    /^(?:node bin\/ckpt\.js|ckpt) (dev|worker)\b/,
    'runs until it is stopped: `dev` is what this test runs on, test/e2e/worker.test.ts has `worker`',
  ],
];

interface Line {
  readonly page: string;
  readonly command: string;
}

const PAGES = ['README.md', ...readdirSync(join(PROJECT_ROOT, 'docs')).map((name) => `docs/${name}`)].filter((name) =>
  name.endsWith('.md'),
);

function linesOf(page: string): readonly Line[] {
  const text = readFileSync(join(PROJECT_ROOT, page), 'utf8');
  return [...text.matchAll(/^```(?:sh|bash|shell)\n(.*?)^```/gms)].flatMap(([, block]) =>
    block!
      .replaceAll(/\\\n\s*/g, ' ')
      .split('\n')
      .map((line) => line.replace(/(^|\s+)#(\s.*)?$/, '').trim())
      .filter((line) => line !== '')
      .map((command) => ({ page, command })),
  );
}

const LINES = PAGES.flatMap(linesOf);
const notHere = ({ command }: Line): string | null => NOT_HERE.find(([pattern]) => pattern.test(command))?.[1] ?? null;

let folder: string;
let server: S3TestServer;
let dev: Running;
let env: Readonly<Record<string, string>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-docs-'));
  server = await startS3Server();
  const checkpoint = fixture('good/lightning_trained.ckpt');
  await copyFile(checkpoint, join(folder, 'last.ckpt'));
  for (const name of ['training', 'serving']) await server.client.send(new CreateBucketCommand({ Bucket: name }));
  for (const run of ['17', '18', 'team-a/3'])
    await server.client.send(new PutObjectCommand({ Bucket: 'training', Key: `runs/${run}/last.ckpt`, Body: await readFile(checkpoint) }));
  await mkdir(join(folder, 'out'));
  for (const page of RUN) await writeDocuments(page);
  env = { ...server.env, XDG_STATE_HOME: join(folder, 'state') };
  dev = ckpt(['dev'], { cwd: folder, env });
  const deadline = Date.now() + UP;
  while ((await ckpt(['setup'], { cwd: folder, env }).ended).code !== 0 || !/Ctrl-C|stop|UI/i.test(dev.said())) {
    if (Date.now() > deadline) throw new Error(`\`ckpt dev\` is not up: ${dev.said()}`);
    await sleep(500);
  }
}, S3_SETUP_TIMEOUT);

afterAll(async () => {
  dev?.process.kill('SIGTERM');
  await dev?.ended;
  await server?.close();
  await rm(folder, { recursive: true, force: true });
}, LONG);

/** A document that a page shows under its name; the one of README.md is named below it. */
async function writeDocuments(page: string): Promise<void> {
  const text = await readFile(join(PROJECT_ROOT, page), 'utf8');
  for (const [, name, document] of text.matchAll(/^`(\w+\.yaml)`:\n\n```yaml\n(.*?)^```/gms))
    await writeFile(join(folder, name!), document!);
  if (page === 'README.md') await writeFile(join(folder, 'scrub.yaml'), /^```yaml\n(.*?)^```/ms.exec(text)![1]!);
}

function shell(command: string): Promise<{ readonly code: number | null; readonly output: string; readonly stdout: string }> {
  const child = spawn('bash', ['-c', command], {
    cwd: folder,
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => void ((stdout += chunk.toString()), (output += chunk.toString())));
  child.stderr.on('data', (chunk: Buffer) => void (output += chunk.toString()));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, output, stdout })));
}

test(
  `every command of ${RUN.join(', ')} runs`,
  async () => {
    let run = '';
    const ran: string[] = [];
    for (const line of LINES.filter(({ page }) => RUN.includes(page)).sort((a, b) => RUN.indexOf(a.page) - RUN.indexOf(b.page))) {
      if (notHere(line) !== null) continue;
      const command = line.command
        .replace(/^(?:node bin\/ckpt\.js|ckpt)(?= )/, () => `"${process.execPath}" "${CLI}"`)
        .replaceAll(/\bRUN\b/g, () => run);
      expect([line, command !== line.command]).toEqual([line, true]);
      const { code, output, stdout } = await shell(command);
      expect([line, code, code === 0 ? '' : output]).toEqual([line, 0, '']);
      run = /"workflow_id": "([^"]+)"/.exec(stdout)?.[1] ?? run;
      ran.push(line.command);
    }
    expect(ran.length).toBeGreaterThan(20);
    for (const page of RUN) expect(LINES.some((line) => line.page === page && ran.includes(line.command))).toBe(true);
    const published = await readFile(join(folder, 'nightly.html'), 'utf8');
    expect(published).toContain('<title>nightly-first: completed</title>');
  },
  LONG,
);

const helps = new Map<string, string>();

function knownHelp(words: readonly string[]): string {
  const key = words.join(' ');
  if (!helps.has(key)) helps.set(key, helpOf(words));
  return helps.get(key)!;
}

test(
  'commands of ckpt on all pages are known, with every option that they are given',
  () => {
    const wrong = LINES.flatMap(({ page, command }) => {
      const words = command.replace(/^node bin\/ckpt\.js/, 'ckpt').split(/\s+/);
      if (words.shift() !== 'ckpt') return [];
      const path = [words[0]!];
      const top = knownHelp([]);
      if (!new RegExp(`^  ${path[0]}\\b`, 'm').test(top)) return [[page, command, 'no such command']];
      if (/^Commands:$/m.test(knownHelp(path)) && words[1] !== undefined && !words[1].startsWith('-')) path.push(words[1]);
      const help = knownHelp(path);
      return words
        .filter((word) => /^--?[a-z]/.test(word))
        .flatMap((word) => (help.includes(word.replace(/=.*/, '')) ? [] : [[page, command, word]]));
    });
    expect(wrong).toEqual([]);
    expect(helps.size).toBeGreaterThan(5);
  },
  LONG,
);

test('all other commands are listed here with the reason why they are not run', () => {
  const others = LINES.filter((line) => !/^(?:node bin\/ckpt\.js|ckpt) /.test(line.command) && notHere(line) === null);
  expect(others).toEqual([]);
});
