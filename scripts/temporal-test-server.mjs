/**
 * Builds the Temporal server and its schema tool from their Go module into the cache, for the test that runs what docker-compose.yml
 * says without Docker. Takes some seven minutes of processor time, once; `.ci/run` calls it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** As the images in docker-compose.yml; a test compares. */
const TEMPORAL_SERVER = '1.32.0';
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'checkpoint-pipeline');
const FOLDER = join(CACHE, `temporal-server-${TEMPORAL_SERVER}`);
const PROGRAMS = { 'temporal-server': 'cmd/server', 'temporal-sql-tool': 'cmd/tools/sql' };

if (Object.keys(PROGRAMS).every((name) => existsSync(join(FOLDER, name)))) {
  process.stderr.write(`temporal server: in the cache, ${FOLDER}\n`);
} else {
  const aside = `${FOLDER}.${process.pid}`;
  mkdirSync(aside, { recursive: true });
  for (const [name, path] of Object.entries(PROGRAMS)) {
    process.stderr.write(`building ${name} ${TEMPORAL_SERVER} from its Go module …\n`);
    const { status, error } = spawnSync('go', ['install', `go.temporal.io/server/${path}@v${TEMPORAL_SERVER}`], {
      cwd: aside,
      env: { ...process.env, GOBIN: aside, GOFLAGS: '-buildvcs=false', CGO_ENABLED: '0' },
      stdio: ['ignore', 2, 2],
    });
    if (status !== 0) {
      rmSync(aside, { recursive: true, force: true });
      process.stderr.write(`${name} could not be built${error === undefined ? '' : `: ${error.message}`}\n`);
      process.exit(1);
    }
    renameSync(join(aside, path.split('/').at(-1)), join(aside, name));
  }
  rmSync(FOLDER, { recursive: true, force: true });
  renameSync(aside, FOLDER);
}
