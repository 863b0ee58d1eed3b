/** What the embedded server's database keeps between commands, as read by Python's SQLite. */
import { spawnSync } from 'node:child_process';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ckpt } from '../support/cli.ts';
import { fixture } from '../support/project.ts';

const RUNS = 6;
const PIPELINE = `
name: short
stages:
  - {type: source.local, path: in.pt}
  - {type: loader.weights_only}
  - {type: sink.publish, uri: out.safetensors, overwrite: always}
`;
const COUNT = `
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
print(sum(database.execute(f'select count(*) from {table}').fetchone()[0] for table in ('transfer_tasks', 'visibility_tasks')))
`;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-oracle-tasks-'));
  await writeFile(join(folder, 'short.yaml'), PIPELINE);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** Each server goes through what the ones before it left, and a run makes a dozen tasks: without end, the next start would take longer and longer. */
test('a server that lives as long as one run leaves none of the tasks of the runs before it', async () => {
  await copyFile(fixture('good/dtypes.pt'), join(folder, 'in.pt'));
  const place = { cwd: folder, env: { XDG_STATE_HOME: join(folder, 'state') } };
  for (let run = 0; run < RUNS; run++) {
    const { code, stderr } = await ckpt(['run', 'short.yaml', '--json'], place).ended;
    expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
  }
  const database = join(folder, 'state', 'checkpoint-pipeline', 'temporal.db');
  const { stdout, stderr } = spawnSync(process.env['ORACLE_PYTHON']!, ['-c', COUNT, database], { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(Number(stdout)).toBeLessThan(3 * 12);
}, 120_000);
