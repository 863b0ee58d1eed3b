/** Reports and bundles as users meet them: beside outputs on a disk and in an S3 store, of runs that failed, of batches; and replayed. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import JSZip from 'jszip';
import { historiesInBundle } from '../../src/io/bundle.ts';
import type { BatchContents, RunContents } from '../../src/report/contents.ts';
import { ckpt, type Ended } from '../support/cli.ts';
import { fixture, PROJECT_ROOT } from '../support/project.ts';
import { contentsIn } from '../support/reports.ts';
import { S3_SETUP_TIMEOUT, startS3Server, type S3TestServer } from '../support/s3-server.ts';

const LONG = 300_000;
/** Planted where credentials lie. */
const SECRETS = {
  awsKey: `AKIA${randomBytes(8).toString('hex').toUpperCase()}`,
  temporal: randomBytes(16).toString('hex'),
  session: randomBytes(16).toString('hex'),
};

let folder: string;
let server: S3TestServer;
let bucket: string;
let env: Readonly<Record<string, string>>;
let shown: { workflow_id: string; outputs: readonly { uri: string; report?: string }[] };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-report-'));
  server = await startS3Server();
  bucket = await server.bucket();
  const credentials = join(folder, 'credentials');
  const { AWS_ACCESS_KEY_ID: id = '', AWS_SECRET_ACCESS_KEY: secret = '', AWS_REGION: region = '', ...others } = server.env;
  await writeFile(
    credentials,
    `[store]\naws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n\n[other]\naws_access_key_id = ${SECRETS.awsKey}\naws_secret_access_key = ${SECRETS.session}\n`,
  );
  const storage = join(folder, 'storage.yaml');
  await writeFile(
    storage,
    `s3:\n  - buckets: [${bucket}]\n    endpoint: ${server.endpoint}\n    region: ${region}\n    path_style: true\n    profile: store\n`,
  );
  const temporal = join(folder, 'temporal.toml');
  await writeFile(temporal, `[profile.other]\naddress = "elsewhere:7233"\napi_key = "${SECRETS.temporal}"\n`);
  env = {
    ...others,
    XDG_STATE_HOME: join(folder, 'state'),
    AWS_SHARED_CREDENTIALS_FILE: credentials,
    AWS_SESSION_TOKEN: SECRETS.session,
    CKPT_STORAGE: storage,
    TEMPORAL_CONFIG_FILE: temporal,
    CKPT_TEST_TOKEN: SECRETS.session,
  };
}, S3_SETUP_TIMEOUT);
afterAll(async () => {
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

const call = (...args: readonly string[]): Promise<Ended> => ckpt(args, { cwd: folder, env }).ended;

async function pipeline(name: string, source: string, uri: string, more = ''): Promise<string> {
  const path = join(folder, name);
  await writeFile(
    path,
    `name: ${name.replace('.yaml', '')}\n${more}stages:\n  - ${source}\n  - type: loader.weights_only\n  - {type: sink.publish, uri: "${uri}"}\n`,
  );
  return path;
}

test(
  'a run from S3 to S3 leaves a report beside its output; the next one, which changes nothing, leaves that alone',
  async () => {
    await server.client.send(
      new PutObjectCommand({ Bucket: bucket, Key: 'in/last.ckpt', Body: await readFile(fixture('good/lightning_trained.ckpt')) }),
    );
    const file = await pipeline(
      'mirror.yaml',
      `{type: source.s3, url: "s3://${bucket}/in/last.ckpt"}`,
      `s3://${bucket}/out/weights.safetensors`,
    );
    const { code, stdout, stderr } = await call('run', file, '--json');
    expect([code, stderr]).toEqual([0, '']);
    shown = JSON.parse(stdout) as typeof shown;
    expect(shown.outputs[0]!.report).toBe(`s3://${bucket}/out/weights.safetensors.report.html`);
    const place = { Bucket: bucket, Key: 'out/weights.safetensors.report.html' };
    const object = await server.client.send(new GetObjectCommand(place));
    const contents = contentsIn(await object.Body!.transformToString()) as RunContents;
    expect(contents).toMatchObject({ kind: 'run', name: 'mirror', status: 'completed', gaps: [], tensorsAre: 'published' });
    expect(contents.stages.map(({ type, status }) => [type, status])).toEqual([
      ['source.s3', 'completed'],
      ['loader.weights_only', 'completed'],
      ['sink.publish', 'completed'],
    ]);
    expect(contents.tensors!.name).toHaveLength(5);
    for (const sha256 of contents.tensors!.sha256) expect(sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(contents.dropped.map(({ what }) => what)).toContain('optimizer_states');
    expect(contents.globals.length).toBeGreaterThan(0);
    expect(contents.source).toMatchObject({ format: 'lightning', container: 'zip' });
    const listed = await server.client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: 'out/' }));
    expect(listed.Contents?.map(({ Key }) => Key)).toEqual(
      ['weights.safetensors', 'weights.safetensors.manifest.json', 'weights.safetensors.report.html'].map((name) => `out/${name}`),
    );

    const again = JSON.parse((await call('run', file, '--json')).stdout) as { status: string; outputs: typeof shown.outputs };
    expect(again).toMatchObject({ status: 'unchanged', outputs: [{ report: shown.outputs[0]!.report }] });
    expect((await server.client.send(new HeadObjectCommand(place))).ETag).toBe(object.ETag);
  },
  LONG,
);

test(
  'no report where none is wanted, where the run failed, and no failure where none can be written',
  async () => {
    const source = `{type: source.local, path: "${fixture('good/lightning_trained.ckpt')}"}`;
    const quiet = await pipeline('quiet.yaml', source, 'quiet/w.safetensors');
    expect((await call('run', quiet, '--no-report')).code).toBe(0);
    const said = await pipeline('said.yaml', source, 'said/w.safetensors', 'report: false\n');
    expect((await call('run', said)).code).toBe(0);
    for (const name of ['quiet', 'said'])
      expect((await readdir(join(folder, name))).sort()).toEqual(['w.safetensors', 'w.safetensors.manifest.json']);

    // A folder stands where the report would go.
    const blocked = await pipeline('blocked.yaml', source, 'blocked/w.safetensors');
    await mkdir(join(folder, 'blocked/w.safetensors.report.html/x'), { recursive: true });
    const result = JSON.parse((await call('run', blocked, '--json')).stdout) as {
      status: string;
      metadata: Record<string, unknown>;
      outputs: readonly { report?: string }[];
    };
    expect(result.status).toBe('completed');
    expect(result.outputs[0]!.report).toBeUndefined();
    expect(result.metadata['report_error']).toMatch(/report\.html/);
  },
  LONG,
);

test(
  'ckpt report of a run that failed: the failure, the stage, and what to do; nothing beside what it would have published',
  async () => {
    const unsafe = await pipeline(
      'unsafe.yaml',
      `{type: source.local, path: "${fixture('unsafe/call_os_system.pt')}"}`,
      'unsafe/w.safetensors',
    );
    const run = await call('run', unsafe, '--json');
    expect(run.code).toBe(1);
    const { workflow_id: id } = JSON.parse(run.stdout) as { workflow_id: string };
    expect(await readdir(join(folder, 'unsafe')).catch(() => [])).toEqual([]);
    for (const command of ['report', 'bundle']) {
      const refused = await call(command, id, '-o', '.');
      expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('is a folder; `--output` must name the file to write.') });
    }
    const made = await call('report', id, '-o', 'failed.html');
    expect(made).toMatchObject({ code: 0, stdout: `${join(folder, 'failed.html')}\n` });
    const contents = contentsIn(await readFile(join(folder, 'failed.html'), 'utf8')) as RunContents;
    expect(contents).toMatchObject({ status: 'failed', tensors: null, error: { type: 'CheckpointValidationError' } });
    expect(contents.error!.details['suggestion']).toMatch(/ckpt scan/);
    expect(contents.stages[0]).toMatchObject({ type: 'source.local', status: 'failed' });
    // Of one whose workspace is out of sight.
    const quiet = JSON.parse((await call('run', join(folder, 'quiet.yaml'), '--no-report', '--json')).stdout) as { workflow_id: string };
    const workspace = join(folder, 'state', 'checkpoint-pipeline', 'workspace');
    await rename(workspace, `${workspace}-aside`);
    const lacking = await call('report', quiet.workflow_id, '-o', 'lacking.html', '--json');
    await rm(workspace, { recursive: true, force: true });
    await rename(`${workspace}-aside`, workspace);
    expect(lacking.code).toBe(0);
    const rest = contentsIn(await readFile(join(folder, 'lacking.html'), 'utf8')) as RunContents;
    expect(rest.gaps).toEqual([
      expect.stringMatching(/^The header of the source is missing here/),
      expect.stringMatching(/^The plan is missing here/),
    ]);
    expect(rest).toMatchObject({ source: null, tensorsAre: 'published', globals: [] });
    expect(rest.tensors!.sha256).toHaveLength(5);

    const missing = await call('report', 'no-such-run', '--json');
    expect(missing.code).toBe(1);
    expect(JSON.parse(missing.stdout)).toMatchObject({ error: { type: 'CheckpointNotFoundError' } });
  },
  LONG,
);

test(
  'ckpt bundle: everything of a run and no credential; ckpt replay takes its steps again, and says where a changed history differs',
  async () => {
    const made = await call('bundle', shown.workflow_id, '-o', 'run.zip', '--json');
    expect(made.code).toBe(0);
    const zip = await JSZip.loadAsync(await readFile(join(folder, 'run.zip')));
    const names = [
      'bundle.json',
      'pipeline.json',
      'result.json',
      'history.json',
      'plan.json',
      'header.json',
      'manifest.json',
      'report.html',
    ];
    expect(Object.keys(zip.files).sort()).toEqual([...names].sort());
    const texts = await Promise.all(names.map((name) => zip.file(name)!.async('string')));
    const payloads = [...texts[3]!.matchAll(/"data": ?"([A-Za-z0-9+/=]+)"/g)].map(([, data]) =>
      Buffer.from(data!, 'base64').toString('utf8'),
    );
    expect(payloads.some((payload) => payload.includes(`s3://${bucket}/in/last.ckpt`))).toBe(true);
    const everything = [...texts, ...payloads, JSON.stringify(contentsIn(texts[7]!))].join('\n');
    const { AWS_ACCESS_KEY_ID: id = '', AWS_SECRET_ACCESS_KEY: secret = '' } = server.env;
    for (const one of [...Object.values(SECRETS), id, secret]) expect([one, everything.includes(one)]).toEqual([one, false]);
    expect(JSON.parse(texts[0]!)).toMatchObject({ workflow_id: shown.workflow_id, workflow: 'run', gaps: [] });

    const same = await call('replay', 'run.zip');
    expect(same).toMatchObject({ code: 0, stdout: `${join(folder, 'run.zip')}: replays with the installed workflow code\n` });
    zip.file('history.json', texts[3]!.replaceAll('"loader.weights_only"', '"loader.other"'));
    await writeFile(join(folder, 'other.zip'), await zip.generateAsync({ type: 'uint8array' }));
    const other = await call('replay', 'other.zip', '--json');
    expect(other.code).toBe(1);
    const { error } = JSON.parse(other.stdout) as { error: { type: string; message: string } };
    expect(error.type).toBe('CheckpointIncompatibleError');
    expect(error.message).toContain("'loader.other' does not match activity type of activity command 'loader.weights_only'");
  },
  LONG,
);

test.each([
  ['no zip', async () => Buffer.from('hello'), /is not a bundle/],
  ['no history', () => zipped({ 'a.json': '{}' }), /holds no history\.json/],
  ['no JSON', () => zipped({ 'history.json': 'hello' }), /cannot be read/],
  // Compressed a thousandfold: 300 MiB of blanks in 300 KiB.
  ['a bomb', () => zipped({ 'history.json': ' '.repeat(300 * 2 ** 20) }), /larger than 268435456 bytes/],
  ['millions of values', () => zipped({ 'history.json': `{"events":[${'{},'.repeat(4_000_000)}{}]}` }), /has 4000001 values or more/],
] as const)(
  'a bundle that is %s is refused',
  async (name, make, message) => {
    const path = join(folder, `${name}.zip`);
    await writeFile(path, await make());
    await expect(historiesInBundle(path).next()).rejects.toMatchObject({
      code: 'CheckpointLoadError',
      message: expect.stringMatching(message),
    });
  },
  LONG,
);

test(
  'a bundle with a history that is none: exit 1, and said',
  async () => {
    await writeFile(join(folder, 'none.zip'), await zipped({ 'history.json': '{"events": [{"eventId": "1"}]}' }));
    const { code, stdout } = await call('replay', 'none.zip', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ error: { type: 'CheckpointLoadError' } });
  },
  LONG,
);

test(
  'a history that would be waited on for ever, in a thread that nothing ends: exit 1, and said',
  async () => {
    const recorded = await readFile(join(PROJECT_ROOT, 'test', 'replay', 'histories', '0.1.0', 'completed.json'), 'utf8');
    await writeFile(
      join(folder, 'alike.zip'),
      await zipped({ 'history.json': recorded.replaceAll(/"eventId": "\d+"/g, '"eventId": "1"') }),
    );
    const { code, stdout } = await call('replay', 'alike.zip', '--timeout', '10', '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      error: {
        type: 'CheckpointTimeoutError',
        message: `The replay of history.json in ${join(folder, 'alike.zip')} has not ended within 10 s.`,
        details: { suggestion: expect.stringContaining('--timeout') },
      },
    });
  },
  LONG,
);

test(
  'the process of a replay ends with its command, also where it is too busy to see that go',
  async () => {
    await writeFile(join(folder, 'busy.zip'), await zipped({ 'history.json': '{"events": []}' }));
    const running = ckpt(['replay', 'busy.zip', '--timeout', '600'], { cwd: folder, env });
    let child: number | undefined;
    while (child === undefined) child = childOf(running.process.pid!);
    // As good as busy: it takes no message, and no signal but the one that nothing withstands.
    process.kill(child, 'SIGSTOP');
    try {
      running.process.kill('SIGTERM');
      expect(await running.ended).toMatchObject({ signal: 'SIGTERM' });
      for (let tries = 0; tries < 100 && isRunning(child); tries++) await setTimeout(100);
      expect(isRunning(child)).toBe(false);
    } finally {
      if (isRunning(child)) process.kill(child, 'SIGKILL');
    }
  },
  LONG,
);

/** Once it is what it is to be: one that is stopped before holds up its parent, which waits for that. */
function childOf(parent: number): number | undefined {
  const { stdout } = spawnSync('ps', ['-o', 'pid=,args=', '--ppid', String(parent)], { encoding: 'utf8' });
  const line = stdout.split('\n').find((each) => each.includes('replay-process'));
  return line === undefined ? undefined : Number.parseInt(line, 10);
}

/** Not merely known to the system until its exit code is asked for. */
function isRunning(pid: number): boolean {
  return /^[^Z]/.test(spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim());
}

async function zipped(files: Readonly<Record<string, string>>): Promise<Uint8Array> {
  const zip = new JSZip();
  for (const [name, text] of Object.entries(files)) zip.file(name, text);
  return zip.generateAsync({ type: 'uint8array', compression: 'DEFLATE' });
}

test(
  'ckpt report of a batch: every item with its outcome',
  async () => {
    const file = join(folder, 'batch.yaml');
    const items = ['good/lightning_trained.ckpt', 'good/state_dict.pt', 'unsafe/call_os_system.pt']
      .map((path) => `  - {uri: "${fixture(path)}", key: "${path}"}\n`)
      .join('');
    await writeFile(
      file,
      `name: several\nresults: several.jsonl\nitems:\n${items}continue_on_error: true\npipeline:\n  stages:\n    - {type: source.local, path: "\${item.uri}"}\n    - {type: loader.weights_only}\n    - {type: sink.publish, uri: "${join(folder, 'batch')}/\${item.stem}.safetensors"}\n`,
    );
    const run = await call('batch', 'run', file, '--json');
    expect(run.code).toBe(1);
    const { workflow_id: id, report: beside } = JSON.parse(run.stdout) as { workflow_id: string; report: string };
    expect(beside).toBe(join(folder, 'several.jsonl.report.html'));
    expect(contentsIn(await readFile(beside, 'utf8'))).toMatchObject({ kind: 'batch', result: { total: 3, failed: 1 } });
    const made = await call('report', id, '--json');
    expect(made.code).toBe(0);
    const { report, gaps } = JSON.parse(made.stdout) as { report: string; gaps: readonly string[] };
    expect([report, gaps]).toEqual([join(folder, `${id}.report.html`), []]);
    const contents = contentsIn(await readFile(report, 'utf8')) as BatchContents;
    expect(contents).toMatchObject({ kind: 'batch', name: 'several', result: { total: 3, completed: 2, failed: 1 } });
    expect(contents.items!.item).toEqual(['good/lightning_trained.ckpt', 'good/state_dict.pt', 'unsafe/call_os_system.pt']);
    expect(contents.items!.status).toEqual(['completed', 'completed', 'failed']);
    for (const ended of contents.items!.ended) expect(Date.parse(ended!)).toBeGreaterThanOrEqual(Date.parse(contents.started!));
    expect(contents.items!.code).toEqual({ 2: 'CheckpointValidationError' });
    expect((await stat(report)).size).toBeLessThan(400_000);
  },
  LONG,
);
