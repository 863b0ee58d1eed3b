/** `ckpt verify` of what lies on a web server, and of manifests on a disk that are none. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { ckpt } from '../../support/cli.ts';
import { tinySafetensors } from '../../support/tiny-safetensors.ts';

const FILE = tinySafetensors(1);
const INDEX = Buffer.from(JSON.stringify({ metadata: { total_size: 16 }, weight_map: { weight: 'model-1.safetensors' } }));
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const TENSORS = [{ name: 'weight', dtype: 'F32', shape: [4], sha256: sha256(FILE.subarray(-16)) }];
/** What is said of a manifest that is otherwise than it should be. */
const OTHERWISE = 'are not what they should be';
const MANIFEST = { version: 1, size: FILE.length, sha256: sha256(FILE), tensors: TENSORS };

let folder: string;
let server: Server;
let origin: string;
let pages: Record<string, Uint8Array | string | number>;
let seen: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-verify-web-'));
  server = createServer((request, response) => {
    seen.push(request.url!);
    const page = pages[request.url!.replace(/\?.*$/, '')] ?? 404;
    if (typeof page === 'number') return void response.writeHead(page).end();
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const bytes = Buffer.from(page);
    const part = bytes.subarray(Number(from), Number(to) + 1);
    const range = `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}`;
    response.writeHead(206, { etag: `"${sha256(bytes)}"`, 'content-range': range, 'content-length': part.length }).end(part);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  pages = { '/a.safetensors': FILE, '/model.safetensors.index.json': INDEX, '/model-1.safetensors': FILE };
  seen = [];
});
afterAll(async () => {
  server?.closeAllConnections();
  await new Promise((resolve) => server?.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

async function verify(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { code, stdout } = await ckpt(['verify', ...args, '--json'], { cwd: folder, env: { XDG_CACHE_HOME: folder, ...env } }).ended;
  return { code, report: JSON.parse(stdout) as Record<string, unknown> };
}

describe('a file', () => {
  test.each([404, 403, 410])('whose manifest is %d has none', async (status) => {
    pages['/a.safetensors.manifest.json'] = status;
    expect(await verify([`${origin}/a.safetensors`])).toMatchObject({ code: 0, report: { valid: true, manifest: null, tensors: 1 } });
    const asked = await verify([`${origin}/a.safetensors`, '--manifest']);
    expect(asked).toMatchObject({ code: 1, report: { error: { type: 'CheckpointNotFoundError' } } });
    expect(JSON.stringify(asked.report)).toContain(`has no manifest beside it (${origin}/a.safetensors.manifest.json)`);
  });

  test('is compared with the manifest beside it, whatever its query', async () => {
    pages['/a.safetensors.manifest.json'] = JSON.stringify(MANIFEST);
    const compared = { code: 0, report: { valid: true, manifest: 'compared' } };
    expect(await verify([`${origin}/a.safetensors`, '--manifest'])).toMatchObject(compared);
    expect(await verify([`${origin}/a.safetensors?download=1`])).toMatchObject(compared);
    expect(seen).toContain('/a.safetensors.manifest.json?download=1');
    pages['/a.safetensors'] = tinySafetensors(2);
    expect(await verify([`${origin}/a.safetensors`])).toMatchObject({
      code: 1,
      report: { valid: false, findings: [{ code: 'digest' }, { code: 'tensor_digest', tensor: 'weight' }] },
    });
  });

  test('beside which a server gives a page for whatever is not there has no manifest', async () => {
    pages['/a.safetensors.manifest.json'] = '\n<!doctype html><html>';
    expect(await verify([`${origin}/a.safetensors`])).toMatchObject({ code: 0, report: { manifest: null } });
  });

  test.each([
    ['its JSON ends too early', ' '],
    ['at character 1 is not JSON', '{x'],
    ['it is not a JSON object', 'null'],
    ['it has no version', '{}'],
    ['it is of version 99', '{"version":99}'],
    ['it has 6000001 values or more', `[${'{},'.repeat(3_000_000)}{}]`],
    [OTHERWISE, JSON.stringify({ ...MANIFEST, tensors: undefined })],
    [OTHERWISE, JSON.stringify({ ...MANIFEST, tensors: [null] })],
    [OTHERWISE, JSON.stringify({ ...MANIFEST, tensors: [{ ...TENSORS[0], shape: [{ toString: 1 }] }] })],
    [OTHERWISE, JSON.stringify({ ...MANIFEST, sha256: null })],
    [OTHERWISE, JSON.stringify({ ...MANIFEST, size: undefined })],
    [OTHERWISE, JSON.stringify({ ...MANIFEST, shards: [{ uri: 'file:///%zz' }] })],
  ])('beside which lies no manifest is not valid, with or without --manifest: %s', async (why, text) => {
    const place = `${origin}/a.safetensors.manifest.json`;
    pages['/a.safetensors.manifest.json'] = text;
    const message = expect.stringMatching(new RegExp(`^${place} is not a manifest of version 1: .*${why}.*Publish the output again`));
    const unreadable = { code: 1, report: { valid: false, manifest: 'unreadable', findings: [{ code: 'manifest', message }] } };
    expect(await verify([`${origin}/a.safetensors`])).toMatchObject(unreadable);
    expect(await verify([`${origin}/a.safetensors`, '--manifest'])).toMatchObject(unreadable);
  });

  test('whose manifest the server fails to give is not called fine', async () => {
    pages['/a.safetensors.manifest.json'] = 501;
    expect(await verify([`${origin}/a.safetensors`])).toMatchObject({ code: 1, report: { error: { type: 'CheckpointSourceError' } } });
  });

  test('is not asked for where the fence is shut', async () => {
    expect(await verify([`${origin}/a.safetensors`], { CKPT_ALLOW_PRIVATE_ADDRESSES: '0' })).toMatchObject({ code: 2 });
    expect(seen).toEqual([]);
  });
});

test('shards are read beside their index, not where the manifest has them from', async () => {
  const index = { ...MANIFEST, size: INDEX.length, sha256: sha256(INDEX) };
  const shard = { uri: 'file:///etc/model-1.safetensors', size: FILE.length, sha256: sha256(FILE), identity: '' };
  const url = `${origin}/model.safetensors.index.json`;
  expect(await verify([url])).toMatchObject({ code: 0, report: { manifest: null } });
  pages['/model.safetensors.index.json.manifest.json'] = JSON.stringify({ ...index, shards: [shard] });
  expect(await verify([url, '--manifest'])).toMatchObject({ code: 0, report: { valid: true, manifest: 'compared' } });
  pages['/model.safetensors.index.json.manifest.json'] = JSON.stringify({ ...index, shards: [{ ...shard, sha256: sha256(INDEX) }] });
  expect(JSON.stringify(await verify([url]))).toContain(`SHA-256 of ${origin}/model-1.safetensors is`);
});

describe('a manifest on a disk', () => {
  let path: string;
  let pipe: string;
  beforeAll(async () => {
    path = join(folder, 'a.safetensors');
    pipe = join(folder, 'pipe');
    await writeFile(path, FILE);
    expect(spawnSync('mkfifo', [pipe]).status).toBe(0);
  });
  afterEach(() => rm(`${path}.manifest.json`, { recursive: true, force: true }));

  test.each([
    ['a folder', () => mkdir(`${path}.manifest.json`), 'it is a folder'],
    ['a device', () => symlink('/dev/zero', `${path}.manifest.json`), 'it is not a regular file'],
    ['a pipe', () => symlink(pipe, `${path}.manifest.json`), 'it is not a regular file'],
    [
      'too large',
      () => writeFile(`${path}.manifest.json`, '{}').then(() => truncate(`${path}.manifest.json`, 2 ** 28)),
      'it has 268435456 bytes',
    ],
  ])('that is %s: not valid', async (_, make, why) => {
    await make();
    const message = expect.stringContaining(why);
    expect(await verify([path])).toMatchObject({ code: 1, report: { manifest: 'unreadable', findings: [{ code: 'manifest', message }] } });
  });

  test('that is named and is a pipe or a device: an error, at once', async () => {
    for (const each of [pipe, '/dev/zero'])
      expect(await verify([path, '--manifest', each])).toMatchObject({ code: 1, report: { error: { type: 'CheckpointLoadError' } } });
  });

  test('of another version that is named: an error', async () => {
    const other = join(folder, 'other.json');
    await writeFile(other, '{"version":2}');
    const message = expect.stringContaining('it is of version 2');
    expect(await verify([path, '--manifest', other])).toMatchObject({
      code: 1,
      report: { error: { type: 'CheckpointValidationError', message } },
    });
  });
});
