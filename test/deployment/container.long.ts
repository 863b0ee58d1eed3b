/** The compose file as Docker Compose reads it: by itself where it is here, else by the library that it reads files with. */
import { spawnSync } from 'node:child_process';
import { expect, test } from '@jest/globals';
import { PROJECT_ROOT } from '../support/project.ts';

/** That of Docker Compose 2.40.3. Built by Go in 20 seconds, once; from then on it lies in Go's cache. */
const LIBRARY = 'github.com/compose-spec/compose-go/v2/cmd@v2.9.1';
const READERS = [
  { asked: ['docker', 'compose', 'version'], reader: ['docker', 'compose', '-f', 'docker-compose.yml', 'config'] },
  { asked: ['go', 'version'], reader: ['go', 'run', LIBRARY, 'docker-compose.yml'] },
] as const;

const reader = READERS.find(({ asked: [program, ...args] }) => spawnSync(program, args).status === 0)?.reader;
if (reader === undefined) process.stderr.write('skipped: neither `docker compose` nor Go here; container.test.ts reads the compose file\n');

(reader === undefined ? test.skip : test)('Docker Compose accepts the file', () => {
  const [program, ...args] = reader!;
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: PROJECT_ROOT,
    encoding: 'utf8',
    env: { ...process.env, CGO_ENABLED: '0' },
  });
  expect([status, stderr.replaceAll(/^go: downloading .*\n/gm, '')]).toEqual([0, '']);
  expect(stdout).toContain('checkpoint-pipeline:0.1.0');
});
