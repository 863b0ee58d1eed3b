/**
 * Measures what docs/scaling.md counts with: events, bytes and state transitions of a run and of an item of a batch, requests to an S3
 * store, and CPU time of server and worker. `node scripts/capacity.mjs [ITEMS]`, after a build; prints JSON.
 */
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Client, Connection } from '@temporalio/client';
import { findTemporalBinary } from '../dist/src/app/temporal/binary.js';
import { registerAttributes } from '../dist/src/app/temporal/search-attributes.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const ITEMS = Number(process.argv[2] ?? 200);
const [TEMPORAL_PORT, S3_PORT] = [27_233, 27_070];
const folder = mkdtempSync(join(tmpdir(), 'ckpt-capacity-'));
const log = join(folder, 's3.log');
const checkpoint = join(ROOT, 'examples', 'lightning-trained.ckpt');
const children = [];
const start = (command, args, env = {}) => {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'], cwd: folder });
  child.stderr.on('data', (chunk) => (child.said = (child.said ?? '') + chunk));
  children.push(child);
  return child;
};

try {
  const program = await findTemporalBinary({ log: () => undefined });
  // On a file, as a server that stays: and with the pragmas of the embedded one.
  const args = ['server', 'start-dev', '--ip', '127.0.0.1', '--port', `${TEMPORAL_PORT}`, '--headless', '--log-level', 'error'];
  const database = [
    '--db-filename',
    join(folder, 'temporal.db'),
    '--sqlite-pragma',
    'journal_mode=wal',
    '--sqlite-pragma',
    'synchronous=normal',
  ];
  const server = start(program, args.concat(database));
  const { command } = JSON.parse(spawnSync(process.execPath, [join(ROOT, 'scripts', 's3-test-server.mjs')], { encoding: 'utf8' }).stdout);
  mkdirSync(join(folder, 'objects'));
  start(command, ['--port', `127.0.0.1:${S3_PORT}`, '--quiet', '--access-log', log, 'posix', join(folder, 'objects')], {
    ROOT_ACCESS_KEY: 'capacity',
    ROOT_SECRET_KEY: 'capacity-secret',
  });
  const s3Env = {
    AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${S3_PORT}`,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'capacity',
    AWS_SECRET_ACCESS_KEY: 'capacity-secret',
  };
  await sleep(5000);
  const address = `127.0.0.1:${TEMPORAL_PORT}`;
  const connection = await Connection.connect({ address });
  await registerAttributes(connection, 'default');
  const client = new Client({ connection });
  Object.assign(process.env, s3Env);
  const s3 = new S3Client({ forcePathStyle: true });
  await s3.send(new CreateBucketCommand({ Bucket: 'capacity' }));
  await s3.send(new PutObjectCommand({ Bucket: 'capacity', Key: 'in.ckpt', Body: readFileSync(checkpoint) }));

  async function withWorker(env, work) {
    const worker = start(process.execPath, [join(ROOT, 'dist/src/app/cli/main.js'), 'worker'], { TEMPORAL_ADDRESS: address, ...env });
    while (!worker.said?.includes('Worker polls')) await sleep(50);
    const done = await work(worker);
    worker.kill('SIGTERM');
    await new Promise((resolve) => worker.once('close', resolve));
    return done;
  }
  const about = async (id) => {
    const { raw } = await client.workflow.getHandle(id).describe();
    const { historyLength, historySizeBytes, stateTransitionCount } = raw.workflowExecutionInfo;
    return { events: Number(historyLength), bytes: Number(historySizeBytes), transitions: Number(stateTransitionCount) };
  };
  const run = async (id, source, uri) => {
    await client.workflow.execute('checkpointPipeline', {
      taskQueue: 'checkpoints',
      workflowId: id,
      args: [{ stages: [source, { type: 'loader.weights_only' }, { type: 'sink.publish', uri }] }],
    });
    return about(id);
  };
  const requests = () =>
    readFileSync(log, 'utf8')
      .split('\n')
      .flatMap((line) => / s3_(\w+) /.exec(line)?.[1] ?? [])
      .reduce((sum, action) => ({ ...sum, [action]: (sum[action] ?? 0) + 1 }), {});

  const local = { type: 'source.local', path: checkpoint };
  const report = { items: ITEMS };
  await withWorker({ CKPT_WORKSPACE: join(folder, 'workspace') }, async (worker) => {
    report.run = await run('run', local, join(folder, 'out', 'run.safetensors'));
    report.unchanged = await run('unchanged', local, join(folder, 'out', 'run.safetensors'));
    mkdirSync(join(folder, 'in'));
    for (let item = 0; item < ITEMS; item++) copyFileSync(checkpoint, join(folder, 'in', `${item}.ckpt`));
    const before = [cpu(server.pid), cpu(worker.pid), Date.now()];
    await client.workflow.execute('checkpointBatch', {
      taskQueue: 'checkpoints',
      workflowId: 'batch',
      args: [
        {
          items: { uri: join(folder, 'in') },
          pipeline: {
            stages: [
              { type: 'source.local', path: '${item.uri}' },
              { type: 'loader.weights_only' },
              { type: 'sink.publish', uri: join(folder, 'out', '${item.stem}.safetensors') },
            ],
          },
        },
      ],
    });
    const [serverCpu, workerCpu, time] = [cpu(server.pid) - before[0], cpu(worker.pid) - before[1], Date.now() - before[2]];
    const parent = await about('batch');
    const per = (value) => Number((value / ITEMS).toFixed(3));
    report.batch_parent_per_item = { events: per(parent.events), bytes: per(parent.bytes), transitions: per(parent.transitions) };
    report.batch = { seconds: time / 1000, server_cpu_ms_per_item: per(serverCpu), worker_cpu_ms_per_item: per(workerCpu) };
  });
  await withWorker({ ...s3Env, CKPT_WORKSPACE: 's3://capacity/workspace' }, async () => {
    const source = { type: 'source.s3', url: 's3://capacity/in.ckpt' };
    await run('s3-first', source, 's3://capacity/first.safetensors');
    writeFileSync(log, '');
    report.s3_run = await run('s3', source, 's3://capacity/out.safetensors');
    await sleep(1500);
    report.s3_requests = requests();
    writeFileSync(log, '');
    await run('s3-unchanged', source, 's3://capacity/out.safetensors');
    await sleep(1500);
    report.s3_requests_unchanged = requests();
  });
  await connection.close();
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}

/** CPU time of a process in milliseconds, as Linux counts it. */
function cpu(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
