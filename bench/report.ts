/** The bench's outcome for people: a table of ratios; for programs: JSON; for the repository: Markdown with the machine. */
import { cpus, loadavg, release, totalmem, type } from 'node:os';
import { formatBytes } from '../src/model/text.ts';
import type { Measurement, Sample, Unit } from './measurement.ts';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory: number;
  readonly system: string;
  readonly node: string;
  /** Load average of the minute before the rows: other work on the machine. */
  readonly load: number;
}

export interface Report {
  readonly date: string;
  readonly command: string;
  readonly quick: boolean;
  readonly machine: Machine;
  readonly rows: readonly Measurement[];
  /** Lines about what is left out, and why. */
  readonly leftOut: readonly string[];
}

export function thisMachine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memory: totalmem(),
    system: `${type()} ${release()}`,
    node: process.version,
    load: loadavg()[0] ?? 0,
  };
}

const HEAD = ['row', 'what', 'ours', 'peer', 'ratio', 'budget', 'met?'] as const;

export function textTable(rows: readonly Measurement[]): string {
  const cells = [HEAD as readonly string[], ...rows.map(cellsOf)];
  const widths = HEAD.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export function markdown({ date, command, machine, rows, leftOut }: Report): string {
  const lines = [
    '# Bench',
    '',
    `Written by \`${command}\` on ${date.slice(0, 10)}. Each figure is the median of several runs, with the least and the most`,
    'in brackets; ours and the peer take turns in the same run. Everything is read from the page cache.',
    '',
    `Machine: ${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memory)}; ${machine.system}; Node ${machine.node}.`,
    `Load average before the first row: ${machine.load.toFixed(1)}; with other work on the machine, only ratios mean something.`,
    '',
    `| ${HEAD.join(' | ')} |`,
    `|${HEAD.map(() => '---').join('|')}|`,
    ...rows.map((row) => `| ${cellsOf(row).join(' | ')} |`),
    ...(leftOut.length === 0 ? [] : ['', ...leftOut.map((line) => `- ${line.split('\n')[0]}`)]),
  ];
  return `${lines.join('\n')}\n`;
}

function cellsOf({ row, what, unit, ours, peer, ratio, budget, met }: Measurement): readonly string[] {
  return [
    row,
    what,
    spread(ours, unit),
    peer === null ? '' : `${peer.name} ${spread(peer.sample, unit)}`,
    ratio === null ? '' : `${ratio.toFixed(2)}×`,
    budget === null
      ? ''
      : budget.of === 'ours' && budget.text.includes('×')
        ? `${budget.text} = ${figure(budget.limit, unit)}`
        : budget.text,
    met === null ? '' : met ? 'yes' : 'NO',
  ];
}

function spread({ median, min, max, runs }: Sample, unit: Unit): string {
  return runs.length === 1 || min === max ? figure(median, unit) : `${figure(median, unit)} (${figure(min, unit)}–${figure(max, unit)})`;
}

function figure(value: number, unit: Unit): string {
  if (unit === 'bytes') return formatBytes(value);
  if (unit === 'count') return String(value);
  return value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${value.toFixed(value >= 10 ? 0 : 1)} ms`;
}
