/** Where items come from: folders, manifests, results, an S3 store; in order, with the place of what is wrong. */
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CheckpointError } from '../../src/errors.ts';
import { filesIn, listItems, pathGlob } from '../../src/io/batch-items.ts';
import type { S3Port } from '../../src/io/s3/port.ts';
import { createStorage } from '../../src/io/storage/storage.ts';
import type { BatchItem, BatchItems } from '../../src/pipeline/batch.ts';
import { asOwner } from '../support/as-owner.ts';
import { start } from '../support/cli.ts';
import { compiled } from '../support/project.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ckpt-items-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function listed(items: BatchItems, storage = createStorage(), signal = new AbortController().signal): Promise<readonly BatchItem[]> {
  const found: BatchItem[] = [];
  for await (const item of listItems(items, { storage, own: async () => null, signal })) found.push(item);
  return found;
}
const manifest = async (name: string, text: string): Promise<BatchItems> => {
  await writeFile(join(folder, name), text);
  return { manifest: join(folder, name) };
};
const refused = (items: Promise<BatchItems>): Promise<string> =>
  items.then(listed).then(
    () => 'it was accepted',
    (error: Error) => error.message,
  );

test('a folder: in order of names, hidden files and links to folders left out', async () => {
  for (const path of ['b/2.ckpt', 'b/10.ckpt', 'a.pt', '.hidden/x.pt', '.x.pt', 'notes.txt', 'c d/é.bin']) {
    await mkdir(join(folder, path, '..'), { recursive: true });
    await writeFile(join(folder, path), '');
  }
  await symlink(folder, join(folder, 'circle'));
  await symlink(join(folder, 'b'), join(folder, 'latest.ckpt'));
  await symlink(join(folder, 'a.pt'), join(folder, 'link.pt'));
  const found = await listed({ uri: folder });
  expect(found.map(({ key }) => key)).toEqual(['a.pt', 'b/10.ckpt', 'b/2.ckpt', 'c d/é.bin', 'link.pt']);
  expect(found[3]!.uri).toBe(pathToFileURL(join(folder, 'c d', 'é.bin')).href);
  expect((await listed({ uri: folder, glob: ['b/*', '*.txt'] })).map(({ key }) => key)).toEqual(['b/10.ckpt', 'b/2.ckpt', 'notes.txt']);
  await expect(listed({ uri: join(folder, 'none') })).rejects.toThrow('There is no folder');
  await expect(listed({ uri: join(folder, 'a.pt') })).rejects.toThrow('is not a folder');
});

test('a link to a file that is not there is an item, whose run says so', async () => {
  await symlink(join(folder, 'gone'), join(folder, 'a.ckpt'));
  expect((await listed({ uri: folder })).map(({ key }) => key)).toEqual(['a.ckpt']);
});

describe('cancelled while nothing fits, a list ends', () => {
  const glob = '**/*.ckpt';
  let controller: AbortController;
  beforeEach(() => {
    controller = new AbortController();
  });
  const cancelled = async (items: BatchItems, storage = createStorage()): Promise<void> =>
    expect(listed(items, storage, controller.signal)).rejects.toThrow('cancelled');

  test('a prefix of many pages', async () => {
    let pages = 0;
    // What a listing uses of a store.
    const port = {
      list: async () => {
        if (++pages === 3) controller.abort(new Error('cancelled'));
        return { objects: [{ key: 'p/notes.txt', size: 1, modified: 0 }], next: pages === 50 ? null : String(pages) };
      },
    } as unknown as S3Port;
    await cancelled({ uri: 's3://bucket/p/', glob }, { ...createStorage(), s3: async () => port });
    expect(pages).toBe(3);
  });

  test('a folder', async () => {
    await writeFile(join(folder, 'notes.txt'), '');
    controller.abort(new Error('cancelled'));
    await cancelled({ uri: folder, glob });
  });

  test('results in which nothing failed', async () => {
    await writeFile(join(folder, 'results.jsonl'), '{"status":"completed"}\n');
    controller.abort(new Error('cancelled'));
    await cancelled({ failed_in: join(folder, 'results.jsonl') });
  });
});

test('globs', () => {
  const fits = (glob: string, key: string): boolean => pathGlob(glob)(key);
  expect(['a.ckpt', 'x/a.ckpt', 'x/y/a.ckpt'].filter((key) => fits('**/a.ckpt', key))).toHaveLength(3);
  expect(fits('*/a.ckpt', 'x/y/a.ckpt')).toBe(false);
  expect(fits('run-?/{last,best}.pt', 'run-1/best.pt')).toBe(true);
  expect(fits('a+(b).pt', 'a+(b).pt')).toBe(true);
  expect(fits('[a].pt', '[a].pt')).toBe(true);
});

test('in globs, a comma is "or" within braces alone', () => {
  const fits = (glob: string, key: string): boolean => pathGlob(glob)(key);
  expect(fits('a,b/*.{pt,ckpt}', 'a,b/x.pt')).toBe(true);
  expect(fits('a,b/*.{pt,ckpt}', 'a')).toBe(false);
  expect(fits('{a,b{c,d}},e', 'bd,e')).toBe(true);
  expect(fits('x}', 'x}')).toBe(true);
  expect(() => pathGlob('{a')).toThrow('The glob `{a` has a `{` without its `}`.');
});

describe('manifests', () => {
  test('CSV: quotes, commas, line ends and doubled quotes in fields, a mark of the byte order, blank lines, CRLF', async () => {
    const items = await manifest(
      'items.csv',
      '\uFEFFuri,key,"a, b"\r\nx.ckpt,,1\r\n\r\n"/abs/y.ckpt","k/y","two\nlines ""quoted"""\r\ns3://b/z.pt,z,\r\n',
    );
    expect(await listed(items)).toEqual([
      { uri: `${folder}/x.ckpt`, key: 'x.ckpt', columns: { 'a, b': '1' } },
      { uri: '/abs/y.ckpt', key: 'k/y', columns: { 'a, b': 'two\nlines "quoted"' } },
      { uri: 's3://b/z.pt', key: 'z', columns: { 'a, b': '' } },
    ]);
  });

  test('JSON Lines, over the end of a block', async () => {
    const rows = Array.from({ length: 30_000 }, (_, index) => JSON.stringify({ uri: `é${index}.pt`, epoch: index }));
    const found = await listed(await manifest('items.jsonl', `${rows.join('\n')}\n\n`));
    expect(found).toHaveLength(30_000);
    expect(found.at(-1)).toEqual({ uri: `${folder}/é29999.pt`, key: 'é29999.pt', columns: { epoch: '29999' } });
  });

  test.each(['run#1.ckpt', 'what?.ckpt', '50%.ckpt', 'a%20b.ckpt', 'sub/é #.ckpt'])(
    'what is relative is a name beside the manifest, however that is called: %s',
    async (name) => {
      await mkdir(join(folder, 'sub'));
      await writeFile(join(folder, name), 'it');
      const plain = await manifest('items.jsonl', `${JSON.stringify({ uri: name })}\n`);
      const storage = createStorage();
      for (const items of [plain, { manifest: pathToFileURL(join(folder, 'items.jsonl')).href }]) {
        const [item] = await listed(items);
        expect(item!.key).toBe(name.slice(name.lastIndexOf('/') + 1));
        const source = await storage.open(item!.uri);
        expect(source.size).toBe(2);
        await source.close();
      }
    },
  );

  test.each(['csv', 'jsonl'])('what is not UTF-8 is refused with its place, and not replaced: %s', async (kind) => {
    const row = (name: string): string => (kind === 'csv' ? `${name}\n` : `{"uri":"${name}"}\n`);
    const head = kind === 'csv' ? 'uri\n' : '';
    const path = join(folder, `latin.${kind}`);
    // Over several blocks, so that characters lie over their ends.
    const rows = Array.from({ length: 5000 }, (_, index) => row(`${index}${'é模'.repeat(60)}`));
    const before = Buffer.from(head + rows.join(''));
    const broken = row('abc').indexOf('b');
    for (const [bytes, hex] of [
      [Buffer.from([0xe9]), 'e9'],
      [Buffer.from([0xe6, 0xa8]), 'e6'],
      [Buffer.from([0x80]), '80'],
      [Buffer.from([0xed, 0xa0, 0x80]), 'ed'],
    ] as const) {
      const line = Buffer.concat([Buffer.from(row('abc').slice(0, broken)), bytes, Buffer.from(row('abc').slice(broken + 1))]);
      await writeFile(path, Buffer.concat([before, line, before]));
      const number = rows.length + (kind === 'csv' ? 2 : 1);
      await expect(listed({ manifest: path })).rejects.toMatchObject({
        code: 'CheckpointConfigError',
        message: expect.stringContaining(`latin.${kind}, line ${number}: the byte 0x${hex} at ${before.length + broken} is not UTF-8.`),
      });
    }
    await writeFile(path, Buffer.concat([Buffer.from(head + row('a').trimEnd()), Buffer.from([0xe6, 0xa8])]));
    await expect(listed({ manifest: path })).rejects.toThrow('the byte 0xe6 at');
  });

  test('rows of the same uri and key are items of their own; of a field that stands twice in a row of JSON the last one counts', async () => {
    const twice = await listed(await manifest('twice.csv', 'uri,key\nx,k\nx,k\n'));
    expect(twice.map(({ key }) => key)).toEqual(['k', 'k']);
    expect(await listed(await manifest('field.jsonl', '{"uri":"/a","uri":"/b"}\n'))).toMatchObject([{ uri: '/b' }]);
  });

  test('what is wrong is said with its line', async () => {
    expect(await refused(manifest('a.csv', 'url\nx\n'))).toContain('one of them `uri`');
    expect(await refused(manifest('b.csv', 'uri,uri\nx,y\n'))).toContain('two columns are named `uri`');
    expect(await refused(manifest('c.csv', 'uri,a\nx,1\ny\n'))).toMatch(/c\.csv, line 3: .*as many values/);
    expect(await refused(manifest('d.csv', 'uri\n"x\n'))).toMatch(/d\.csv, line 2: a quote is opened and never closed\./);
    expect(await refused(manifest('e.csv', 'uri,a\nx,1\n,2\n'))).toContain('e.csv, line 3');
    expect(await refused(manifest('f.jsonl', '{"uri":"x"}\n\n{broken\n'))).toContain(
      'f.jsonl, line 3: what stands in column 2 is not JSON.',
    );
    expect(await refused(manifest('g.jsonl', '{"uri":"x"}\n7\n'))).toContain('g.jsonl, line 2');
  });

  test('what cannot be read is not repeated: it may hold a credential', async () => {
    const url = 'https://h/x.ckpt?token=hunter2';
    const broken: readonly (readonly [string, string, string])[] = [
      ['opened.csv', `uri\n${url}"\n`, 'opened.csv, line 2, column `uri`: a quote stands within a value'],
      ['closed.csv', `uri\n"${url}"hunter2\n`, 'closed.csv, line 2, column `uri`: something stands behind the quote'],
      ['open.csv', `uri\n"${url}\n`, 'open.csv, line 2: a quote is opened and never closed'],
      ['short.csv', `uri,a\n${url}\n`, 'short.csv, line 2: the row has not as many values'],
      ['first.csv', `${url}"\n`, 'first.csv, line 1: a quote stands within a value'],
      ['unnamed.csv', `${url},${url}\n`, 'one of them `uri`'],
      ['cell.jsonl', `{"uri": ${url}}\n`, 'cell.jsonl, line 1: what stands in column 9 is not JSON'],
      ['text.jsonl', `{"uri": "${url}\n`, 'text.jsonl, line 1: its JSON ends too early'],
    ];
    for (const [name, text, message] of broken) {
      const error: unknown = await listed(await manifest(name, text)).catch((refusal: unknown) => refusal);
      expect(error).toMatchObject({ code: 'CheckpointConfigError', message: expect.stringContaining(message) });
      expect(inspect(error, { depth: 5 })).not.toContain('hunter2');
    }
  });

  test('more columns than a row may have are refused by their number, before they are compared or a row is read', async () => {
    const columns = (count: number): string => ['uri', ...Array.from({ length: count - 1 }, (_, index) => `c${index}`)].join(',');
    expect(await refused(manifest('many.csv', `${columns(100_000)}\nx\n`))).toMatch(
      /many\.csv: the first line names 100000 columns, at most/,
    );
    const columnsOf = async (items: Promise<BatchItems>): Promise<number> => Object.keys((await listed(await items))[0]!.columns).length;
    expect(await columnsOf(manifest('some.csv', `${columns(1000)}\nx${',1'.repeat(999)}\n`))).toBe(999);
  });

  test('a credential in a row is refused with its place, and not repeated: what is listed stays in histories', async () => {
    const rows: readonly (readonly [string, string])[] = [
      ['uri', '{"uri":"https://user:hunter2@host/x.ckpt"}'],
      ['uri', '{"uri":"https://host/x.ckpt?X-Amz-Signature=hunter2"}'],
      ['uri', '"s3://AKIA:hunter2@bucket/x.ckpt"'],
      ['target', '{"uri":"x","target":"https://host/base.pt?api_token=hunter2"}'],
      ['key', '{"uri":"x","key":"https://user:hunter2@host/x"}'],
    ];
    for (const [column, row] of rows) {
      const message = await refused(manifest('a.jsonl', `{"uri":"y"}\n${row}\n`));
      expect(message).toContain(`a.jsonl, line 2, \`${column}\``);
      expect(message).not.toContain('hunter2');
    }
    expect(await refused(manifest('b.csv', 'uri\nhttps://user:hunter2@host/x\n'))).toMatch(/^(?!.*hunter2).*b\.csv, line 2, `uri`/);
    const misnamed = await refused(manifest('c.jsonl', '{"url":"https://user:hunter2@host/x"}\n'));
    expect(misnamed).toContain('got an object of `url`');
    expect(misnamed).not.toContain('hunter2');
  });

  test('results of a batch: what failed, was cancelled or not started', async () => {
    const line = (index: number, status: string): string =>
      JSON.stringify({ index, item: `k${index}`, uri: `/x/${index}`, columns: { n: `${index}` }, status });
    await writeFile(
      join(folder, 'r.jsonl'),
      ['completed', 'failed', 'unchanged', 'cancelled', 'not_started'].map((s, i) => `${line(i, s)}\n`).join(''),
    );
    expect(await listed({ failed_in: join(folder, 'r.jsonl') })).toEqual([
      { uri: '/x/1', key: 'k1', columns: { n: '1' } },
      { uri: '/x/3', key: 'k3', columns: { n: '3' } },
      { uri: '/x/4', key: 'k4', columns: { n: '4' } },
    ]);
    await writeFile(join(folder, 'r.jsonl'), '{"item":\n');
    await expect(listed({ failed_in: join(folder, 'r.jsonl') })).rejects.toMatchObject({ details: { config_path: 'items.failed_in' } });
  });

  const failed = { item: 'k', uri: '/x', columns: {}, status: 'failed' };
  test.each<[string, unknown, string]>([
    ['null', null, 'it is not an object'],
    ['a number', 5, 'it is not an object'],
    ['a list', [], 'it is not an object'],
    ['no status', {}, 'its `status` is none of'],
    ['another status', { ...failed, status: 'odd' }, 'its `status` is none of'],
    ['no name', { ...failed, item: undefined }, 'its `item` is not a name'],
    ['a number as name', { ...failed, item: 5 }, 'its `item` is not a name'],
    ['no columns', { ...failed, columns: undefined }, 'its `columns` are not an object'],
    ['a number as URI', { ...failed, uri: 5 }, 'an item is a URI'],
    ['no name of the item before it', { ...failed, destination_of: {} }, 'its `destination_of` is not a name'],
    ['a long name of it', { ...failed, destination_of: 'k'.repeat(20_000) }, 'its `destination_of` is not a name'],
    ['a name of megabytes', { ...failed, item: 'k'.repeat(500_000) }, 'characters, at most 16384'],
    ['a password', { ...failed, uri: 'https://bob:hunter2@example.org/x.pt' }, '`uri`: '],
    ['a signature in a column', { ...failed, columns: { at: 'https://example.org/?X-Amz-Signature=hunter2' } }, '`at`: '],
  ])('results of which a row has %s: said with its line, for good, and no secret is repeated', async (_, row, what) => {
    await writeFile(join(folder, 'r.jsonl'), `${JSON.stringify({ ...failed, status: 'completed' })}\n${JSON.stringify(row)}\n`);
    const error = await listed({ failed_in: join(folder, 'r.jsonl') }).then(
      () => null,
      (thrown: CheckpointError) => thrown,
    );
    expect(error).toMatchObject({ code: 'CheckpointConfigError', retryable: false, message: expect.stringContaining(what) });
    expect(error!.message).toContain('r.jsonl, line 2');
    expect(error!.message).not.toContain('hunter2');
  });

  test('values of columns are texts, whatever a row has there', async () => {
    await writeFile(join(folder, 'r.jsonl'), `${JSON.stringify({ ...failed, columns: { n: 5, o: { a: 1 } }, destination_of: 'first' })}\n`);
    expect(await listed({ failed_in: join(folder, 'r.jsonl') })).toEqual([
      { uri: '/x', key: 'k', columns: { n: '5', o: '{"a":1}' }, destination_of: 'first' },
    ]);
  });
});

test('a list may have no credential either, whoever starts the batch', async () => {
  for (const items of [['https://bob:hunter2@example.org/x.pt'], [{ uri: '/x', at: 's3://bob:hunter2@bucket/x' }]])
    await expect(listed(items)).rejects.toMatchObject({
      code: 'CheckpointConfigError',
      message: expect.not.stringContaining('hunter2'),
      details: { config_path: 'items[0]' },
    });
});

test('a folder of more names than are held is refused, and says what to do', async () => {
  const wide = await mkdtemp(join(folder, 'wide-'));
  for (const name of ['a', 'b', 'c']) await writeFile(join(wide, name), '');
  const names = async (most: number): Promise<readonly string[]> => {
    const found: string[] = [];
    for await (const { key } of filesIn(wide, { reaches: () => true, fits: () => true, most })) found.push(key);
    return found;
  };
  expect(await names(3)).toEqual(['a', 'b', 'c']);
  await expect(names(2)).rejects.toMatchObject({ code: 'CheckpointConfigError', message: expect.stringContaining('manifest') });
});

describe('a folder that may not be read', () => {
  const LIST = `
    const [items, storage, given] = process.argv.slice(1);
    const { listItems } = await import(items);
    const { createStorage } = await import(storage);
    const keys = [];
    try {
      for await (const { key } of listItems(JSON.parse(given), { storage: createStorage(), own: async () => null, signal: new AbortController().signal })) keys.push(key);
      console.log(JSON.stringify({ keys }));
    } catch ({ code, message, retryable }) {
      console.log(JSON.stringify({ code, message, retryable }));
    }`;
  const listedAsOwner = async (items: BatchItems): Promise<unknown> => {
    const modules = ['src/io/batch-items.js', 'src/io/storage/storage.js'].map(compiled);
    const command = asOwner([process.execPath, '--input-type=module', '-e', LIST, ...modules, JSON.stringify(items)]);
    const { stdout, stderr } = await start(command, { cwd: folder, env: {} }).ended;
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  };
  const closed = async (name: string): Promise<string> => {
    await mkdir(join(folder, name), { recursive: true });
    await chmod(join(folder, name), 0o000);
    return join(folder, name);
  };

  test('ends the list at once, and says what to do', async () => {
    await writeFile(join(folder, 'a.ckpt'), '');
    const path = await closed('closed');
    expect(await listedAsOwner({ uri: folder })).toEqual({
      code: 'CheckpointSourceError',
      message: expect.stringMatching(new RegExp(`^${path}/ cannot be listed: EACCES.*\\. Let the worker's user read it .*\`glob\``)),
      retryable: false,
    });
  });

  test('is not looked into where nothing could fit, nor is what a file system keeps for itself', async () => {
    await mkdir(join(folder, 'runs'));
    for (const name of ['a.ckpt', 'runs/b.ckpt']) await writeFile(join(folder, name), '');
    await closed('closed');
    expect(await listedAsOwner({ uri: folder, glob: '*.ckpt' })).toEqual({ keys: ['a.ckpt'] });
    expect(await listedAsOwner({ uri: folder, glob: 'runs/**' })).toEqual({ keys: ['runs/b.ckpt'] });
    await rm(join(folder, 'closed'), { recursive: true });
    await closed('lost+found');
    expect(await listedAsOwner({ uri: folder })).toEqual({ keys: ['a.ckpt', 'runs/b.ckpt'] });
  });
});
