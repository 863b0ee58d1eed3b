/** From an S3 store to the same: through us, and copied by the store itself, beside `GetObject | PutObject` of the same bytes. */
import { createReadStream } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { DeleteObjectCommand, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { startFaultProxy } from '../../test/support/fault-proxy.ts';
import { startS3Server, type S3TestServer } from '../../test/support/s3-server.ts';
import { measurement, type Measurement } from '../measurement.ts';
import { runProgram, type Finished } from '../process.ts';
import { CKPT } from '../project.ts';
import { convert, runTimes, type Scene } from '../scene.ts';

const RUNS = 5;
/** Budgets of a publish: as many times the peer's time, through us and copied by the store; then at most this share of the bytes passes through us. */
const THROUGH = 1.2;
const COPIED = 0.6;
const PASSES_MOST = 0.1;
const RSS = 256 * 1024 * 1024;
/** Of an inspection. */
const MOST_REQUESTS = 4;
const MOST_BYTES = 1024 * 1024;

const PEER = fileURLToPath(new URL('../stores/peer.js', import.meta.url));
const SOURCE = 'last.ckpt';
const REFERENCE = 'reference.safetensors';
const TARGET = 'target.safetensors';

export async function s3Rows(scene: Scene): Promise<readonly Measurement[]> {
  const server = await startS3Server();
  try {
    const place = await laidOut(scene, server);
    return [...(await transfers(scene, place)), ...(await inspection(scene, place))];
  } finally {
    await server.close();
  }
}

/** Runs the conversions once, for a profile of them. */
export async function s3Profile(scene: Scene): Promise<void> {
  const server = await startS3Server();
  try {
    const { bucket } = await laidOut(scene, server);
    // The scene's command runs under the profiler; it takes its store from the environment of the scene.
    Object.assign(scene.env, server.env);
    await convert(scene, `s3://${bucket}/${SOURCE}`, `s3://${bucket}/${TARGET}`, [], { server_side_copy: false });
  } finally {
    await server.close();
  }
}

interface Place {
  readonly server: S3TestServer;
  readonly bucket: string;
  uri(key: string): string;
}

async function laidOut(scene: Scene, server: S3TestServer): Promise<Place> {
  const { path, size } = await scene.input('lightning');
  const bucket = await server.bucket();
  await server.client.send(new PutObjectCommand({ Bucket: bucket, Key: SOURCE, Body: createReadStream(path), ContentLength: size }));
  return { server, bucket, uri: (key) => `s3://${bucket}/${key}` };
}

/** The same scene, whose programs reach the store at `endpoint`. */
function reaching(scene: Scene, server: S3TestServer, endpoint: string): Scene {
  const env = { ...scene.env, ...server.env, AWS_ENDPOINT_URL_S3: endpoint };
  const node = (...args: readonly string[]): Promise<Finished> => runProgram(process.execPath, args, { env, cwd: scene.scratch });
  return { ...scene, env, node, ckpt: (...args) => node(...CKPT, ...args) };
}

interface Series {
  /** Of the whole process. */
  readonly ms: number[];
  /** Of the bytes' way alone. */
  readonly publish: number[];
  readonly cpu: number[];
  readonly rss: number[];
}

const series = (): Series => ({ ms: [], publish: [], cpu: [], rss: [] });

async function transfers(scene: Scene, { server, bucket, uri }: Place): Promise<readonly Measurement[]> {
  const stored = reaching(scene, server, server.endpoint);
  const publish = async (target: string, copies: boolean) => {
    const done = await convert(stored, uri(SOURCE), uri(target), [], { server_side_copy: copies });
    if (done.result.status !== 'completed') throw new Error(`the conversion ended as ${done.result.status}`);
    return done;
  };
  await publish(REFERENCE, false);
  const { ContentLength: size = 0 } = await server.client.send(new HeadObjectCommand({ Bucket: bucket, Key: REFERENCE }));
  const through = series();
  const copied = series();
  const peer: Omit<Series, 'rss'> = { ms: [], publish: [], cpu: [] };
  const store: number[] = [];
  let passed = size;
  const take = async (to: Series, done: Awaited<ReturnType<typeof publish>>): Promise<void> => {
    to.ms.push(done.ms);
    if (done.peakRss !== null) to.rss.push(done.peakRss);
    if (done.cpuMs !== null) to.cpu.push(done.cpuMs);
    to.publish.push((await runTimes(scene, done.result.workflow_id)).stages.get('sink.publish')!);
  };
  const players = [
    async () => take(through, await publish(TARGET, false)),
    async () => {
      const done = await publish(TARGET, true);
      const [output] = done.result.outputs;
      // Where nothing was worth a copy of the store's own, the output has no such entry.
      passed = output!.passed_through ?? size;
      await take(copied, done);
    },
    async () => {
      const done = await stored.node(PEER, 'pass', bucket, REFERENCE, TARGET);
      peer.ms.push(done.ms);
      peer.publish.push(Number(done.stdout));
      if (done.cpuMs !== null) peer.cpu.push(done.cpuMs);
    },
    async () => void store.push(Number((await stored.node(PEER, 'copy', bucket, REFERENCE, TARGET)).stdout)),
  ];
  const runs = scene.runs ?? (scene.quick ? 1 : RUNS);
  for (let run = 0; run < runs; run++) {
    for (let turn = 0; turn < players.length; turn++) {
      // Nobody pays for what the one before has not yet written back.
      await runProgram('sync', []);
      await players[(run + turn) % players.length]!();
      for (const Key of [TARGET, `${TARGET}.manifest.json`]) await server.client.send(new DeleteObjectCommand({ Bucket: bucket, Key }));
    }
  }
  const name = 'GetObject | PutObject';
  const row = 's3';
  const pair = (what: string, { ms, publish: stage, cpu, rss }: Series, limit: number): readonly Measurement[] => [
    measurement({
      row,
      what: `${what}: sink.publish`,
      unit: 'ms',
      ours: stage,
      peer: { name, runs: peer.publish },
      budget: { text: `${limit}×`, limit, of: 'ratio' },
    }),
    measurement({ row, what: `${what}: whole process`, unit: 'ms', ours: ms, peer: { name, runs: peer.ms } }),
    ...(cpu.length === 0
      ? []
      : [measurement({ row, what: `${what}: CPU time of the process`, unit: 'ms', ours: cpu, peer: { name, runs: peer.cpu } })]),
    ...(rss.length === 0
      ? []
      : [measurement({ row, what: `${what}: peak RSS`, unit: 'bytes', ours: rss, budget: { text: '256 MiB', limit: RSS, of: 'ours' } })]),
  ];
  return [
    ...pair('S3 → S3', through, THROUGH),
    ...pair('S3 → S3, copied by the store', copied, COPIED),
    // What the store itself takes, whoever asks: some copy once more when they put the parts together.
    measurement({
      row,
      what: 'S3 → S3, copied by the store: sink.publish',
      unit: 'ms',
      ours: copied.publish,
      peer: { name: 'UploadPartCopy of all bytes', runs: store },
    }),
    measurement({
      row,
      what: 'S3 → S3, copied by the store: bytes that pass through us',
      unit: 'bytes',
      ours: [passed],
      budget: { text: '10 % of the output', limit: PASSES_MOST * size, of: 'ours' },
    }),
  ];
}

async function inspection(scene: Scene, { server, uri }: Place): Promise<readonly Measurement[]> {
  const proxy = await startFaultProxy(server.endpoint);
  try {
    const done = await reaching(scene, server, proxy.url).ckpt('inspect', uri(SOURCE), '--json');
    const { requests } = JSON.parse(done.stdout) as { requests: { bytes: number } };
    const row = 's3';
    return [
      measurement({
        row,
        what: 'inspect over S3: requests',
        unit: 'count',
        ours: [proxy.seen.length],
        budget: { text: '4', limit: MOST_REQUESTS, of: 'ours' },
      }),
      measurement({
        row,
        what: 'inspect over S3: bytes read',
        unit: 'bytes',
        ours: [requests.bytes],
        budget: { text: '1 MiB', limit: MOST_BYTES, of: 'ours' },
      }),
    ];
  } finally {
    await proxy.close();
  }
}
