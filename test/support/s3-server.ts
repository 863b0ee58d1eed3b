/**
 * A real S3 server for a test file, in a folder of its own: which program it is, `scripts/s3-test-server.mjs` decides and says.
 *
 * Its credentials and endpoint reach the code under test as users give them: by the AWS SDK's own environment variables.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, ListBucketsCommand, PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3';
import { PROJECT_ROOT } from './project.ts';

/** Bound against hangs, in milliseconds: building the server for the first time takes minutes. */
export const S3_SETUP_TIMEOUT = 20 * 60_000;
const READY_TIMEOUT = 60_000;

export interface S3TestServer {
  readonly kind: 'endpoint' | 'versitygw' | 'moto';
  readonly endpoint: string;
  /** What a process needs to reach it. */
  readonly env: Readonly<Record<string, string>>;
  readonly client: S3Client;
  /** A new, empty bucket. */
  bucket(options?: { readonly versioned?: boolean }): Promise<string>;
  close(): Promise<void>;
}

export async function startS3Server(): Promise<S3TestServer> {
  const found = spawnSync(process.execPath, [join(PROJECT_ROOT, 'scripts', 's3-test-server.mjs')], { encoding: 'utf8' });
  process.stderr.write(found.stderr);
  if (found.status !== 0) throw new Error(`no S3 server for the tests: ${found.stderr}`);
  const choice = JSON.parse(found.stdout) as { kind: S3TestServer['kind']; endpoint?: string; command?: string };

  const folder = await mkdtemp(join(tmpdir(), 'ckpt-s3-'));
  const port = await freePort();
  const endpoint = choice.endpoint ?? `http://127.0.0.1:${port}`;
  const own = choice.kind !== 'endpoint';
  const env = {
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: (own ? undefined : process.env['AWS_REGION']) ?? 'us-east-1',
    AWS_ACCESS_KEY_ID: (own ? undefined : process.env['AWS_ACCESS_KEY_ID']) ?? 'test-key',
    AWS_SECRET_ACCESS_KEY: (own ? undefined : process.env['AWS_SECRET_ACCESS_KEY']) ?? 'test-secret',
    // No look at the machine's own settings, nor at a metadata service.
    AWS_CONFIG_FILE: join(folder, 'no-config'),
    AWS_SHARED_CREDENTIALS_FILE: join(folder, 'no-credentials'),
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  const server = choice.command === undefined ? null : await start(choice.kind, choice.command, port, folder, env);
  const client = new S3Client({
    endpoint,
    region: env.AWS_REGION,
    forcePathStyle: true,
    credentials: { accessKeyId: env.AWS_ACCESS_KEY_ID, secretAccessKey: env.AWS_SECRET_ACCESS_KEY },
  });

  async function close(): Promise<void> {
    client.destroy();
    if (server !== null) await stop(server.process);
    await rm(folder, { recursive: true, force: true });
  }

  const deadline = Date.now() + READY_TIMEOUT;
  for (;;) {
    const failure = await client.send(new ListBucketsCommand({})).then(
      () => null,
      (error: Error) => error,
    );
    if (failure === null) break;
    if (Date.now() > deadline || (server !== null && server.process.exitCode !== null)) {
      await close();
      throw new Error(`the S3 server at ${endpoint} does not answer: ${failure.message}\n${server?.said() ?? ''}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }

  return {
    kind: choice.kind,
    endpoint,
    env,
    client,
    async bucket({ versioned = false } = {}) {
      const name = `test-${randomBytes(6).toString('hex')}`;
      await client.send(new CreateBucketCommand({ Bucket: name }));
      if (versioned) await client.send(new PutBucketVersioningCommand({ Bucket: name, VersioningConfiguration: { Status: 'Enabled' } }));
      return name;
    },
    close,
  };
}

async function start(
  kind: S3TestServer['kind'],
  command: string,
  port: number,
  folder: string,
  env: Readonly<Record<string, string>>,
): Promise<{ process: ChildProcess; said: () => string }> {
  const data = join(folder, 'data');
  const versions = join(folder, 'versions');
  await mkdir(data);
  await mkdir(versions);
  const args =
    kind === 'moto'
      ? ['-H', '127.0.0.1', '-p', String(port)]
      : ['--port', `127.0.0.1:${port}`, '--quiet', '--keep-alive', 'posix', '--versioning-dir', versions, data];
  const settings = { ROOT_ACCESS_KEY: env['AWS_ACCESS_KEY_ID'], ROOT_SECRET_KEY: env['AWS_SECRET_ACCESS_KEY'] };
  const child = spawn(command, args, { cwd: folder, env: { ...process.env, ...settings }, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)));
  // Ended by `close`; a test run that is killed must not leave it behind either.
  process.once('exit', () => child.kill('SIGKILL'));
  return { process: child, said: () => said };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), 5000);
  await ended.finally(() => clearTimeout(force));
}

/** A port of the loopback that nobody uses at the moment. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))));
    });
  });
}
