/** `npm run bench`: plays the rows, prints a table of ratios, writes JSON. See `--help`. */
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import type { Measurement } from './measurement.ts';
import { PROJECT_ROOT } from './project.ts';
import { markdown, textTable, thisMachine, type Report } from './report.ts';
import { ROWS } from './rows/index.ts';
import { openScene } from './scene.ts';

interface Options {
  readonly only?: string;
  readonly quick?: boolean;
  readonly runs?: string;
  readonly inputs: string;
  readonly json: string;
  readonly write?: boolean;
}

const names = ROWS.map(({ name }) => name).join(', ');
const program = new Command('bench')
  .description(`Measures the product against its peers, as ratios of the same run. Rows: ${names}.`)
  .option('--only <rows>', 'comma-separated names of rows')
  .option('--quick', 'small inputs, one run: shows that the bench works, measures nothing')
  .option('--runs <n>', 'runs of each thing')
  .option('--inputs <folder>', 'keeps the inputs (3 GB) from run to run', join(tmpdir(), 'checkpoint-pipeline-bench'))
  .option('--json <file>', 'where the results go as JSON', join(PROJECT_ROOT, 'bench', 'results.json'))
  .option('--write', 'write bench/RESULTS.md, too')
  .addHelpText('after', '\nBENCH_PYTHON names a Python with torch and safetensors; without it their rows are left out.')
  .parse();
const options = program.opts<Options>();
const say = (line: string): void => void process.stderr.write(`${line}\n`);

const wanted = options.only?.split(',').map((name) => name.trim());
const unknown = wanted?.filter((name) => !ROWS.some((row) => row.name === name)) ?? [];
if (unknown.length > 0) program.error(`error: no row ${unknown.join(', ')}; there are: ${names}`, { exitCode: 2 });
const runs = options.runs === undefined ? null : Number(options.runs);
if (runs !== null && !(Number.isInteger(runs) && runs > 0)) program.error('error: --runs takes a positive integer', { exitCode: 2 });

const scene = await openScene({
  quick: options.quick === true,
  runs,
  inputs: resolve(options.inputs),
  python: process.env['BENCH_PYTHON'] || null,
  profiles: null,
  say,
});
try {
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
    rows.push(...(await row.play(scene)));
  }
  const report: Report = {
    date: new Date().toISOString(),
    command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
    quick: scene.quick,
    machine: thisMachine(),
    rows,
    leftOut,
  };
  process.stdout.write(`${textTable(rows)}\n`);
  await mkdir(resolve(options.json, '..'), { recursive: true });
  await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
  if (options.write === true) await writeFile(join(PROJECT_ROOT, 'bench', 'RESULTS.md'), markdown(report));
} finally {
  await scene.close();
}
