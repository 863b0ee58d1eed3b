/**
 * Where the long tests of faults are played: one Temporal server, one S3 server behind a fault proxy, one large checkpoint, and a
 * namespace for each lane, so that lanes run side by side and a worker serves its own lane alone.
 */
import { createHash, randomInt } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DeleteObjectCommand, GetObjectCommand, ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { CheckpointClient } from '../../src/app/client.ts';
import { ckpt, type Running } from '../support/cli.ts';
import { startFaultProxy, type FaultProxy, type Seen } from '../support/fault-proxy.ts';
import { writeLargeSafetensors } from '../support/large-file.ts';
import { partialSize } from '../support/partial.ts';
import { startS3Server, type S3TestServer } from '../support/s3-server.ts';
import { devServer } from '../support/temporal.ts';

/** 503 MB. */
const TENSORS = 15;
const MEBIBYTES = 32;

export interface Lane {
  readonly client: CheckpointClient;
  /** A new worker of this lane, once it polls. */
  worker(): Promise<Running>;
}

/** Where an output goes, and what can be seen of it from outside. */
export interface Place {
  readonly uri: string;
  /** Bytes that have been brought there, the unfinished ones included. */
  brought(): Promise<number>;
  /** True from the moment when the output stands there, or is about to. */
  isOver(): Promise<boolean>;
  /** Names of all that is there, uploads that are open among them. */
  left(): Promise<readonly string[]>;
  sha256(): Promise<string>;
  remove(): Promise<void>;
}

export interface Field {
  readonly folder: string;
  readonly large: string;
  readonly size: number;
  readonly server: S3TestServer;
  readonly proxy: FaultProxy;
  readonly bucket: string;
  lane(name: string): Promise<Lane>;
  /** A place of its own in the bucket or on the disk. */
  place(kind: 's3' | 'disk', name: string): Promise<Place>;
  close(): Promise<void>;
}

export async function openField(): Promise<Field> {
  const folder = await mkdtemp(join(tmpdir(), 'ckpt-long-faults-'));
  const large = join(folder, 'large.safetensors');
  await writeLargeSafetensors(large, TENSORS, MEBIBYTES);
  const server = await startS3Server();
  const proxy = await startFaultProxy(server.endpoint);
  const bucket = await server.bucket();
  const environment = await devServer();
  const workers: Running[] = [];

  return {
    folder,
    large,
    size: (await stat(large)).size,
    server,
    proxy,
    bucket,
    async lane(name) {
      await addNamespace(environment, name);
      const env = {
        ...server.env,
        AWS_ENDPOINT_URL_S3: proxy.url,
        CKPT_WORKSPACE: join(folder, 'workspace'),
        TEMPORAL_ADDRESS: environment.address,
        TEMPORAL_NAMESPACE: name,
        CKPT_ALLOW_PRIVATE_ADDRESSES: '1',
      };
      return {
        client: new CheckpointClient({ connection: environment.connection, namespace: name }),
        async worker() {
          const one = ckpt(['worker'], { cwd: folder, env });
          workers.push(one);
          let over = false;
          void one.ended.then(() => (over = true));
          while (!one.said().includes('Worker polls')) {
            if (over) throw new Error(`the worker ended before it polled: ${one.said()}`);
            await sleep(20);
          }
          return one;
        },
      };
    },
    async place(kind, name) {
      if (kind === 's3') return inBucket(server, proxy, bucket, name);
      await mkdir(join(folder, name));
      return onDisk(join(folder, name));
    },
    async close() {
      for (const one of workers) {
        one.process.kill('SIGKILL');
        await one.ended;
      }
      await environment.teardown();
      await proxy.close();
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const NAME = 'weights.safetensors';

export const isPart = ({ method, url }: Seen): boolean => method === 'PUT' && url.includes('partNumber=');
export const partNumber = ({ url }: Seen): number => Number(/partNumber=(\d+)/.exec(url)![1]);

function inBucket(server: S3TestServer, proxy: FaultProxy, bucket: string, folder: string): Place {
  const Key = `${folder}/${NAME}`;
  const isHere = ({ url }: Seen): boolean => url.includes(`/${folder}/`);
  const list = async () => (await server.client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: `${folder}/` }))).Contents ?? [];
  return {
    uri: `s3://${bucket}/${Key}`,
    brought: async () => proxy.seen.filter((seen) => isHere(seen) && isPart(seen)).reduce((sum, { body }) => sum + body, 0),
    isOver: async () => proxy.seen.some((seen) => isHere(seen) && seen.method === 'POST' && seen.url.includes('uploadId=')),
    async left() {
      const { Uploads } = await server.client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: `${folder}/` }));
      return [...(await list()).map((object) => object.Key!.slice(folder.length + 1)), ...(Uploads ?? []).map(() => 'an open upload')];
    },
    async sha256() {
      const { Body } = await server.client.send(new GetObjectCommand({ Bucket: bucket, Key }));
      // In Node the SDK's stream is one.
      return sha256Of(Body as NodeJS.ReadableStream);
    },
    async remove() {
      for (const object of await list()) await server.client.send(new DeleteObjectCommand({ Bucket: bucket, Key: object.Key! }));
    },
  };
}

function onDisk(folder: string): Place {
  const size = async (name: string): Promise<number> => (await stat(join(folder, name)).catch(() => null))?.size ?? 0;
  return {
    uri: join(folder, NAME),
    brought: async () => (await partialSize(folder)) ?? size(NAME),
    isOver: async () => (await size(NAME)) > 0,
    left: () => readdir(folder),
    sha256: () => sha256Of(createReadStream(join(folder, NAME))),
    remove: () => rm(folder, { recursive: true }),
  };
}

async function sha256Of(stream: NodeJS.ReadableStream): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function addNamespace({ connection }: TestWorkflowEnvironment, namespace: string): Promise<void> {
  await connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod: { seconds: (24 * 3600) as never } });
  // Its caches learn of it within seconds.
  for (;;) {
    const known = await connection.workflowService.listOpenWorkflowExecutions({ namespace }).then(
      () => true,
      () => false,
    );
    if (known) return;
    await sleep(200);
  }
}

/** Numbers from 0 to 1 that the seed determines. */
export function seeded(seed: number): () => number {
  let count = 0;
  return () => createHash('sha256').update(`${seed}/${count++}`).digest().readUInt32LE() / 2 ** 32;
}

/** Of FAULTS_SEED, or a new one; said, so that a run can be had again. */
export function chosenSeed(): number {
  const given = process.env['FAULTS_SEED'];
  const seed = given === undefined ? randomInt(2 ** 31) : Number(given);
  say(`faults: FAULTS_SEED=${seed} has the same points again`);
  return seed;
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
