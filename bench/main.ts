/** `npm run bench`: plays the rows, prints a table of ratios, writes JSON. See `--help`. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import type { Measurement } from './measurement.ts';
import { profileSummary } from './profile.ts';
import { CKPT, PROJECT_ROOT } from './project.ts';
import { markdown, textTable, thisMachine, type Report } from './report.ts';
import { ROWS, type Row } from './rows/index.ts';
import { openScene } from './scene.ts';

interface Options {
  readonly only?: string;
  readonly quick?: boolean;
  readonly runs?: string;
  readonly inputs: string;
  readonly json: string;
  readonly write?: boolean;
  readonly profile?: string;
  readonly profiles: string;
}

const names = ROWS.map(({ name }) => name).join(', ');
const program = new Command('bench')
  .description(`Measures the product against its peers, as ratios of the same run. Rows: ${names}.`)
  .option('--only <rows>', 'comma-separated names of rows')
  .option('--quick', 'small inputs, one run: shows that the bench works, measures nothing')
  .option('--runs <n>', 'runs of each thing')
  .option('--inputs <folder>', 'keeps the inputs (2.8 GB) from run to run', join(tmpdir(), 'checkpoint-pipeline-bench'))
  .option('--json <file>', 'where the results go as JSON', join(PROJECT_ROOT, 'bench', 'results.json'))
  .option('--write', 'write bench/RESULTS.md, too')
  .option('--profile <row>', 'run the command of one row once under the CPU profiler, and say where its time goes')
  .option('--profiles <folder>', 'where the .cpuprofile files go', join(PROJECT_ROOT, 'bench', 'profiles'))
  .addHelpText(
    'after',
    '\nBENCH_PYTHON names a Python with torch and safetensors; without it their rows are left out.\nBENCH_BATCH_ITEMS: items of the largest batch (2000).',
  )
  .parse();
const options = program.opts<Options>();
const say = (line: string): void => void process.stderr.write(`${line}\n`);

const wanted = options.only?.split(',').map((name) => name.trim());
const unknown = wanted?.filter((name) => !ROWS.some((row) => row.name === name)) ?? [];
if (unknown.length > 0) program.error(`error: no row ${unknown.join(', ')}; there are: ${names}`, { exitCode: 2 });
const runs = options.runs === undefined ? null : Number(options.runs);
if (runs !== null && !(Number.isInteger(runs) && runs > 0)) program.error('error: --runs takes a positive integer', { exitCode: 2 });

const profiled = options.profile === undefined ? null : (ROWS.find(({ name }) => name === options.profile) ?? null);
if (options.profile !== undefined && profiled === null)
  program.error(`error: no row ${options.profile}; there are: ${names}`, { exitCode: 2 });

const scene = await openScene({
  quick: options.quick === true,
  runs,
  inputs: resolve(options.inputs),
  python: process.env['BENCH_PYTHON'] || null,
  say,
});
try {
  await (profiled === null ? play() : takeProfile(profiled));
} finally {
  await scene.close();
}

async function play(): Promise<void> {
  const machine = thisMachine();
  const rows: Measurement[] = [];
  const leftOut: string[] = [];
  for (const row of ROWS.filter(({ name }) => wanted?.includes(name) ?? true)) {
    const reason = row.leftOut?.(scene) ?? null;
    if (reason !== null) {
      leftOut.push(`${row.name}: ${reason}`);
      say(leftOut.at(-1)!);
      continue;
    }
    say(`${row.name} …`);
    try {
      const found = await row.play(scene);
      say(textTable(found));
      rows.push(...found);
    } catch (error) {
      // What the other rows found must not be lost with it.
      leftOut.push(`${row.name}: failed: ${error instanceof Error ? error.message : String(error)}`);
      say(leftOut.at(-1)!);
      process.exitCode = 1;
    }
  }
  const report: Report = {
    date: new Date().toISOString(),
    command: commandLine(),
    quick: scene.quick,
    machine,
    rows,
    leftOut,
  };
  process.stdout.write(`${textTable(rows)}\n`);
  await mkdir(dirname(resolve(options.json)), { recursive: true });
  await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
  if (options.write === true) await writeFile(join(PROJECT_ROOT, 'bench', 'RESULTS.md'), markdown(report));
}

async function takeProfile(row: Row): Promise<void> {
  if (row.profile === undefined) return program.error(`error: ${row.name} runs no command that could be profiled`, { exitCode: 2 });
  const folder = join(resolve(options.profiles), row.name);
  await rm(folder, { recursive: true, force: true });
  await row.profile({
    ...scene,
    ckpt: (...args) => scene.node('--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${folder}`, ...CKPT, ...args),
  });
  process.stdout.write(`${await profileSummary(folder)}\n`);
  say(`profiles: ${folder}`);
}

/** As it can be typed anywhere: paths of this machine are left out. */
function commandLine(): string {
  const { only, quick, write } = options;
  const shown = [
    ...(only === undefined ? [] : [`--only ${only}`]),
    ...(quick === true ? ['--quick'] : []),
    ...(runs === null ? [] : [`--runs ${runs}`]),
    ...(write === true ? ['--write'] : []),
  ];
  return ['npm run bench', ...(shown.length === 0 ? [] : ['--', ...shown])].join(' ');
}
