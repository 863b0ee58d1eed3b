/** Scans of every fixture, and of archives made here: what is said of a file, and that nothing is left unread. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { CheckpointLoadError, CheckpointSourceError, CheckpointTimeoutError } from '../../../src/errors.ts';
import { readHeader } from '../../../src/formats/read-header.ts';
import { sarif } from '../../../src/formats/scan/sarif.ts';
import { scanFile, type FileScan } from '../../../src/formats/scan/scan.ts';
import { openSource } from '../../../src/io/locations/open.ts';
import { siblingsOf } from '../../../src/io/locations/siblings.ts';
import type { ByteSource } from '../../../src/model/byte-source.ts';
import { memorySource } from '../../support/memory-source.ts';
import { EXPECTED, fixture, PROJECT_ROOT } from '../../support/project.ts';
import { zip, type Part } from '../../support/zip.ts';

async function scanFixture(path: string): Promise<readonly FileScan[]> {
  const source = await openSource(fixture(path));
  try {
    return await scanFile(source, { openSibling: siblingsOf(source.uri, openSource), check: readHeader });
  } finally {
    await source.close();
  }
}

const namesOf = (files: readonly FileScan[]): readonly string[] =>
  files.flatMap(({ globals }) => globals.map(({ module, name }) => `${module}.${name}`));
const codesOf = (files: readonly FileScan[]): readonly string[] => files.flatMap(({ findings }) => findings.map(({ code }) => code));

/** Good files that name classes which no list knows, or hold a program. */
const UNKNOWN = new Set([
  'good/lightning_rich_hparams_p2.ckpt',
  'good/lightning_rich_hparams_p4.ckpt',
  'good/lightning_rich_hparams_p5.ckpt',
  'good/lightning_hparams_callables.ckpt',
  'good/torchscript.pt',
]);
/** Malformed without a pickle being so, by what only the tensors' bytes show, or by holding no model: not a scan's business. */
const NO_SCANS_BUSINESS = /^corrupt\/(structure_|zip_crc_storage|sharded_tensor_unlisted)/;

const counts = new Map<string, number>();
const count = (expected: string, files: readonly FileScan[]): void => {
  const worst = ['dangerous', 'corrupt', 'unknown', 'safe'].find((verdict) => files.some((file) => file.verdict === verdict));
  counts.set(`${expected} → ${worst}`, (counts.get(`${expected} → ${worst}`) ?? 0) + 1);
};
beforeAll(() => {
  counts.clear();
});
afterAll(() => {
  process.stdout.write(`${[...counts].map(([what, number]) => `  scan: ${what}: ${number}`).join('\n')}\n`);
});

describe('good fixtures are safe', () => {
  test.each(Object.keys(EXPECTED.good))('%s', async (path) => {
    const files = await scanFixture(path);
    count('good', files);
    const expected = UNKNOWN.has(path) ? 'unknown' : 'safe';
    expect(files.map(({ verdict, findings }) => ({ verdict, findings }))).toEqual(
      files.map(() => ({ verdict: expected, findings: expect.anything() })),
    );
  });
});

describe('bad fixtures are not', () => {
  test.each(Object.entries(EXPECTED.bad).filter(([path]) => !NO_SCANS_BUSINESS.test(path)))(
    '%s',
    async (path, { verdict, globals = [], also_ok: alsoOk = [] }) => {
      const files = await scanFixture(path);
      count(verdict, files);
      if (!alsoOk.includes('good')) expect(files.some((file) => file.verdict !== 'safe')).toBe(true);
      expect(namesOf(files)).toEqual(expect.arrayContaining([...globals]));
      const isCall =
        /\/(call|hidden|op|legacy_pickle|bare|zip|tar)_/.test(path) &&
        globals.length > 0 &&
        !globals.includes('unknown_package.sub.anything');
      if (verdict === 'unsafe' && isCall) expect(files.some((file) => file.verdict === 'dangerous')).toBe(true);
    },
  );
});

const HARMLESS = Buffer.from('\x80\x02}.', 'latin1');
const HARMFUL = Buffer.from('\x80\x02cos\nsystem\nU\x02id\x85R.', 'latin1');
const main: Part = { name: 'archive/data.pkl', data: HARMLESS };

async function scanBytes(bytes: Uint8Array): Promise<FileScan> {
  const [file] = await scanFile(memorySource(bytes));
  if (file === undefined) throw new Error('a scan has a result');
  return file;
}

test.each(['lightning', 'sharded', 'training'])('a real distributed checkpoint is safe, each of its files: %s', async (name) => {
  const source = await openSource(join(PROJECT_ROOT, 'test', 'fixtures', 'readers', name, '.metadata'));
  const files = await scanFile(source, { openSibling: siblingsOf(source.uri, openSource), check: readHeader }).finally(() =>
    source.close(),
  );
  expect(files.length).toBeGreaterThan(1);
  expect(files.map(({ verdict, findings }) => ({ verdict, findings }))).toEqual(files.map(() => ({ verdict: 'safe', findings: [] })));
});

describe('every pickle of an archive', () => {
  const parts: readonly (readonly [string, readonly Part[]])[] = [
    ['a second root', [main, { name: 'other/data.pkl', data: HARMFUL }]],
    ['a second member of the name', [main, { name: 'archive/data.pkl', data: HARMFUL }]],
    ['the first of two of a name', [{ ...main, data: HARMFUL }, main]],
    ['a member that torch does not load', [main, { name: 'archive/extra.PKL', data: HARMFUL }]],
    ['a text file by its name', [main, { name: 'archive/readme.txt', data: HARMFUL }]],
    ['a pickle behind STOP', [{ ...main, data: Buffer.concat([HARMLESS, HARMFUL]) }]],
    ['a third pickle', [{ ...main, data: Buffer.concat([HARMLESS, HARMLESS, HARMFUL]) }]],
    ['behind a broken part', [{ ...main, data: Buffer.concat([Buffer.from('\x80\x02\xffxyz', 'latin1'), HARMFUL]) }]],
    [
      'a pickle behind a broken pickle member',
      [
        { ...main, data: Buffer.from('nonsense') },
        { name: 'archive/b.pkl', data: HARMFUL },
      ],
    ],
    [
      'behind a member with a wrong CRC-32',
      [main, { name: 'archive/a.pkl', data: HARMLESS, crc: 1 }, { name: 'archive/b.pkl', data: HARMFUL }],
    ],
    ['in a member with a wrong CRC-32', [main, { name: 'archive/a.pkl', data: HARMFUL, crc: 1 }]],
    ['in a deflated member with a wrong CRC-32', [main, { name: 'archive/a.pkl', data: HARMFUL, deflated: true, crc: 1 }]],
    ['constants of TorchScript', [main, { name: 'archive/constants.pkl', data: HARMFUL }]],
    ['a member that the directory does not list', [{ ...main, gap: zip([{ name: 'archive/data.pkl', data: HARMFUL }]).subarray(0, -84) }]],
    ['a deflated one', [{ ...main, gap: zip([{ name: 'archive/data.pkl', data: HARMFUL, deflated: true }]).subarray(0, -84) }]],
    ['debug information of TorchScript', [main, { name: 'archive/code/a.py.debug_pkl', data: HARMFUL }]],
  ];
  test.each(parts)('%s', async (_, members) => {
    const file = await scanBytes(zip(members));
    expect(file.verdict).toBe('dangerous');
    expect(file.globals).toContainEqual(expect.objectContaining({ module: 'os', name: 'system', verdict: 'dangerous' }));
  });

  test('what torch writes beside the storages is read, its sums compared', async () => {
    const file = await scanBytes(zip([main, { name: 'archive/version', data: Buffer.from('3\n'), crc: 1 }]));
    expect(file).toMatchObject({ verdict: 'corrupt', findings: [{ code: 'broken_member', member: 'archive/version' }] });
  });

  test("a storage's data descriptor is compared with the directory", async () => {
    const file = await scanBytes(zip([main, { name: 'archive/data/0', data: Buffer.alloc(8), descriptor: { crc: 7 } }]));
    expect(file).toMatchObject({ verdict: 'corrupt', findings: [{ code: 'broken_member', member: 'archive/data/0' }, expect.anything()] });
  });

  test('a plain archive is safe, and its storages are not opened', async () => {
    const file = await scanBytes(
      zip([main, { name: 'archive/data/0', data: HARMFUL }, { name: 'archive/version', data: Buffer.from('3\n') }]),
    );
    expect(file).toMatchObject({ verdict: 'safe', globals: [] });
    expect(file.findings).toEqual([expect.objectContaining({ code: 'unused_storage' })]);
  });

  test('the member and the position are given', async () => {
    const { globals } = await scanBytes(zip([{ ...main, data: HARMFUL }]));
    expect(globals).toEqual([{ module: 'os', name: 'system', verdict: 'dangerous', member: 'archive/data.pkl', position: 2 }]);
  });

  test('without its directory, local headers are looked behind', async () => {
    const whole = zip([main, { name: 'archive/b.pkl', data: HARMFUL }]);
    expect(await scanBytes(whole.subarray(0, whole.length - 60))).toMatchObject({ verdict: 'dangerous' });
  });
});

describe('other containers are named, and never safe', () => {
  const magics: readonly (readonly [string, string, string])[] = [
    ['7z', '7z\xbc\xaf\x27\x1c', '7-Zip'],
    ['gzip', '\x1f\x8b\x08', 'gzip'],
    ['bzip2', 'BZh9', 'bzip2'],
    ['xz', '\xfd7zXZ\0', 'xz'],
    ['zstd', '\x28\xb5\x2f\xfd', 'zstd'],
    ['lz4', '\x04\x22\x4d\x18', 'lz4'],
    ['rar', 'Rar!\x1a\x07\x01', 'RAR'],
    ['npy', '\x93NUMPY\x01', 'NumPy'],
    ['hdf5', '\x89HDF\r\n', 'HDF5'],
    ['gguf', 'GGUF\x03', 'GGUF'],
    ['tar', `${'a'.repeat(257)}ustar\0`, 'tar'],
  ];
  test.each(magics)('%s', async (_, start, name) => {
    const bytes = Buffer.concat([Buffer.from(start, 'latin1'), Buffer.alloc(600)]);
    const file = await scanBytes(bytes);
    expect(file.verdict).toBe('corrupt');
    expect(file.findings).toContainEqual(expect.objectContaining({ code: 'unread_container', message: expect.stringContaining(name) }));
    const inside = await scanBytes(zip([main, { name: 'archive/inner', data: bytes }]));
    expect(inside.verdict).toBe('corrupt');
    expect(inside.findings).toContainEqual(expect.objectContaining({ code: 'nested_container', message: expect.stringContaining(name) }));
  });

  test('a page is no checkpoint, unless it is another archive as well', async () => {
    const codes = async (bytes: Buffer): Promise<readonly string[]> => {
      const { verdict, findings } = await scanBytes(bytes);
      expect(verdict).toBe('corrupt');
      return findings.map(({ code }) => code);
    };
    const page = Buffer.from(`<!doctype html>${'x'.repeat(600)}`);
    expect(await codes(page)).toEqual(['page']);
    expect(await codes(Buffer.concat([page, zip([main])]))).toEqual(['unread_container']);
    expect(await codes(Buffer.from('<html>\0</html>'))).toEqual(['unread_container']);
    // The oldest form of tar, without its mark: no more than a sum tells it.
    const header = Buffer.alloc(512, 'x');
    header.write('<html>', 0);
    header.write('       ', 148);
    const sum = header.fill(' ', 148, 156).reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')} `, 148);
    expect(await codes(header)).toEqual(['unread_container']);
  });

  test('what ends as a zip archive is one, whatever it begins with', async () => {
    const { verdict, findings } = await scanBytes(Buffer.concat([Buffer.from('# A model\n'), zip([main])]));
    expect([verdict, findings.map(({ code }) => code)]).toEqual(['corrupt', ['unread_container']]);
  });

  test('an archive in an archive, and npz', async () => {
    const inner = zip([main]);
    expect(codesOf([await scanBytes(zip([main, { name: 'archive/model.pt', data: inner }]))])).toContain('nested_container');
    const npz = await scanBytes(zip([{ name: 'a.npy', data: Buffer.from('\x93NUMPY\x01\0', 'latin1') }]));
    expect(npz.verdict).toBe('corrupt');
    expect(codesOf([npz])).toEqual(expect.arrayContaining(['nested_container', 'no_data_pkl']));
  });

  test.each([
    ['nothing', ''],
    ['zeros', '\0'.repeat(100)],
    ['text', 'hello, world\n'],
    ['JSON', '{"a": 1}'],
  ])('%s is not a checkpoint', async (_, text) =>
    expect(await scanBytes(Buffer.from(text, 'latin1'))).toMatchObject({ verdict: 'corrupt' }),
  );
});

describe('bare pickles', () => {
  test.each([
    ['safe', '\x80\x02}.', 'safe'],
    ['of protocol 0', '(dp0\n.', 'safe'],
    ['naming an unknown class', 'cmine\nThing\n.', 'unknown'],
    ['two in a row', '\x80\x02}.\x80\x02}.', 'corrupt'],
    ['harmful in the second', '\x80\x02}.\x80\x02cos\nsystem\n.', 'dangerous'],
    ['truncated', '\x80\x02}', 'corrupt'],
  ])('%s', async (_, bytes, verdict) => expect((await scanBytes(Buffer.from(bytes, 'latin1'))).verdict).toBe(verdict));

  test('a harmful pickle in a byte string is data, and worth a finding', async () => {
    const inner = HARMFUL;
    const file = await scanBytes(Buffer.concat([Buffer.from([0x80, 3, 0x43, inner.length]), inner, Buffer.from('.')]));
    expect(file).toMatchObject({ verdict: 'unknown', globals: [] });
    expect(file.findings).toEqual([expect.objectContaining({ code: 'nested_pickle', message: expect.stringContaining('os.system') })]);
  });

  test('a distributed checkpoint: each part of the files that its index names', async () => {
    const good = zip([main]);
    const bad = zip([{ ...main, data: HARMFUL }]);
    const info = (offset: number, length: number): string =>
      `ctorch.distributed.checkpoint.filesystem\n_StorageInfo\n)\x81}(U\x0drelative_pathU\x0c__0_0.distcpU\x06offsetI${offset}\nU\x06lengthI${length}\nub`;
    const index = `\x80\x02](${info(0, good.length)}${info(good.length, bad.length)}e.`;
    const opened: string[] = [];
    const files = await scanFile(memorySource(Buffer.from(index, 'latin1'), 'memory:///.metadata'), {
      openSibling: async (name) => {
        opened.push(name);
        return memorySource(Buffer.concat([good, bad]), `memory:///${name}`);
      },
    });
    // Lightning's own file is looked for, too.
    expect(new Set(opened)).toEqual(new Set(['__0_0.distcp', 'meta.pt']));
    expect(files[1]).toMatchObject({ uri: 'memory:///__0_0.distcp', verdict: 'dangerous' });
  });
});

test.each([
  ['a negative length', 0, -1],
  ['a negative offset', -5, 10],
  ['an end beyond the file', 0, 1e12],
])('a part of a distributed checkpoint with %s is not an error of the scan', async (_, offset, length) => {
  const index = `\x80\x02ctorch.distributed.checkpoint.filesystem\n_StorageInfo\n)\x81}(U\x0drelative_pathU\x0c__0_0.distcpU\x06offsetI${offset}\nU\x06lengthI${length}\nub.`;
  const files = await scanFile(memorySource(Buffer.from(index, 'latin1'), 'memory:///.metadata'), {
    openSibling: async (name) => memorySource(zip([main]), `memory:///${name}`),
  });
  expect(files[1]).toMatchObject({
    verdict: 'corrupt',
    findings: expect.arrayContaining([expect.objectContaining({ code: 'part_outside' })]),
  });
});

test('the file that Lightning keeps beside a distributed checkpoint is scanned, though no index names it', async () => {
  const index = Buffer.from(
    `\x80\x02ctorch.distributed.checkpoint.filesystem\n_StorageInfo\n)\x81}(U\x0drelative_pathU\x0c__0_0.distcpU\x06offsetI0\nU\x06lengthI${zip([main]).length}\nub.`,
    'latin1',
  );
  const files = await scanFile(memorySource(index, 'memory:///.metadata'), {
    openSibling: async (name) => memorySource(name === 'meta.pt' ? HARMFUL : zip([main]), `memory:///${name}`),
  });
  expect(files.at(-1)).toMatchObject({ uri: 'memory:///meta.pt', verdict: 'dangerous' });
});

/** Of a store that fails from the given read on. */
function failing(bytes: Uint8Array, from: number, error: Error): ByteSource {
  const source = memorySource(bytes);
  let reads = 0;
  return { ...source, read: async (...at) => (reads++ < from ? source.read(...at) : Promise.reject(error)) };
}

describe('a store that fails says nothing of the content', () => {
  const archive = zip([main, { name: 'archive/other.pkl', data: HARMFUL }, { name: 'archive/last.pkl', data: HARMLESS }]);

  test.each([
    ['unread', new CheckpointSourceError('the connection broke', 'memory:///file')],
    ['unread', new CheckpointSourceError('it changed since it was pinned', 'memory:///file', { retryable: false })],
    ['unread', new CheckpointTimeoutError('no byte came', 'read', 30)],
    ['corrupt', new CheckpointLoadError('it ends too early', 'memory:///file')],
  ])('%s: %s', async (verdict, error) => {
    const [file] = await scanFile(failing(archive, 0, error));
    expect(file).toMatchObject({ verdict, findings: [{ message: error.message }] });
  });

  test('what was found before is kept, and the worst of it counts', async () => {
    const error = new CheckpointSourceError('the connection broke', 'memory:///file');
    const verdicts = new Set<string>();
    for (let reads = 0; ; reads++) {
      const [file] = await scanFile(failing(archive, reads, error));
      verdicts.add(file!.verdict);
      if (!file!.findings.some(({ message }) => message === error.message)) break;
      expect(file!.verdict).toBe(file!.globals.length > 0 ? 'dangerous' : 'unread');
    }
    expect(verdicts).toEqual(new Set(['unread', 'dangerous']));
  });

  test('of a file that an index names', async () => {
    const index = Buffer.from(JSON.stringify({ weight_map: { a: 'a.bin', b: 'b.bin' } }));
    const files = await scanFile(memorySource(index), {
      openSibling: async (name) => {
        if (name === 'a.bin') throw new CheckpointSourceError('the connection broke', name);
        return memorySource(HARMFUL, `memory:///${name}`);
      },
    });
    expect(files).toMatchObject([
      { verdict: 'unread', findings: [{ code: 'unread_file', member: 'a.bin' }] },
      { uri: 'memory:///b.bin', verdict: 'dangerous' },
    ]);
  });
});

test('SARIF 2.1.0: one run, a rule for each result, a level that fits', async () => {
  const files = [
    await scanBytes(zip([{ ...main, data: HARMFUL }])),
    await scanBytes(Buffer.from('cmine\nThing\n.')),
    await scanBytes(zip([main])),
  ];
  const log = sarif(files) as {
    version: string;
    $schema: string;
    runs: { tool: { driver: { name: string; rules: { id: string }[] } }; results: Record<string, unknown>[]; artifacts: unknown[] }[];
  };
  expect(log.version).toBe('2.1.0');
  const run = log.runs[0]!;
  expect(log.runs).toHaveLength(1);
  expect(run.artifacts).toHaveLength(3);
  expect(run.results).toEqual(
    expect.arrayContaining([
      {
        ruleId: 'dangerous_global',
        ruleIndex: run.tool.driver.rules.findIndex(({ id }) => id === 'dangerous_global'),
        level: 'error',
        message: { text: expect.stringContaining('os.system') },
        locations: [
          {
            physicalLocation: { artifactLocation: { uri: expect.any(String) } },
            logicalLocations: [{ name: 'archive/data.pkl', kind: 'member', fullyQualifiedName: 'archive/data.pkl@2' }],
          },
        ],
      },
      expect.objectContaining({ ruleId: 'unknown_global', level: 'warning' }),
    ]),
  );
  const ids = run.tool.driver.rules.map(({ id }) => id);
  for (const { ruleId, ruleIndex, level } of run.results) {
    expect(ids[ruleIndex as number]).toBe(ruleId);
    expect(['none', 'note', 'warning', 'error']).toContain(level);
  }
  expect(new Set(ids).size).toBe(ids.length);
});
