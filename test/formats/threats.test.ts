/** The classes of attack that scanners and loaders fell for (docs/security.md); each file is built here, byte by byte. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { CheckpointError } from '../../src/errors.ts';
import { readHeader } from '../../src/formats/read-header.ts';
import { scanFile } from '../../src/formats/scan/scan.ts';
import { memorySource } from '../support/memory-source.ts';
import { zip, type Part } from '../support/zip.ts';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const torch = (pickle: string, storage = 16, more: readonly Part[] = []): Buffer =>
  zip([{ name: 'a/data.pkl', data: bytes(pickle) }, { name: 'a/data/0', data: Buffer.alloc(storage) }, ...more]);

interface Judged {
  readonly code: string;
  readonly globals: readonly string[];
  readonly verdict: string;
}

/** By the reader and by the scan: what one refuses, the other must not call safe. */
async function judged(file: Uint8Array): Promise<Judged> {
  const error = await readHeader(memorySource(file)).then(
    () => undefined,
    (thrown: unknown) => thrown as CheckpointError,
  );
  const [scan] = await scanFile(memorySource(file), { check: readHeader });
  return {
    code: error?.code ?? 'read',
    globals: (scan?.globals ?? []).filter(({ verdict }) => verdict === 'dangerous').map(({ module, name }) => `${module}.${name}`),
    verdict: scan?.verdict ?? 'none',
  };
}

const UNSAFE = 'CheckpointValidationError';
const CORRUPT = 'CheckpointLoadError';

/** A state dict of one tensor, made by `rebuild` over the storage `0`. */
interface Rebuild {
  readonly size?: string;
  readonly stride?: string;
  readonly offset?: string;
  readonly type?: string;
  readonly numel?: string;
  readonly grad?: string;
}
const tensor = (rebuild: Rebuild = {}): string => {
  const { size = 'K\x02K\x02\x86', stride = 'K\x02K\x01\x86', offset = 'K\x00', type = 'FloatStorage', numel = 'K\x04' } = rebuild;
  return `\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\n${type}\nU\x010U\x03cpu${numel}tQ${offset}${size}${stride}${rebuild.grad ?? '\x89'}ccollections\nOrderedDict\n)RtRs.`;
};

test('a plain tensor is read, and safe', async () => {
  expect(await judged(torch(tensor()))).toEqual({ code: 'read', globals: [], verdict: 'safe' });
});

describe('dangerous names are refused, and named', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['G1: a module that lists forgot: pip', 'cpip\nmain\n)R.', 'pip.main'],
    ['G1: importlib', 'cimportlib\nimport_module\n)R.', 'importlib.import_module'],
    ['G1: a submodule of torch', 'ctorch.utils.collect_env\nrun\n)R.', 'torch.utils.collect_env.run'],
    ['G2: a submodule', 'cpip._internal.cli.main\nmain\n)R.', 'pip._internal.cli.main.main'],
    ['G2: the C module behind', 'c_operator\nattrgetter\n)R.', '_operator.attrgetter'],
    ['G2: posix for os', 'cposix\nsystem\n)R.', 'posix.system'],
    ['G2: a dotted attribute of a harmless module', '\x80\x04\x8c\x07pathlib\x8c\x09os.system\x93)R.', 'pathlib.os.system'],
    ['G2: Python 2 names', 'c__builtin__\neval\n)R.', '__builtin__.eval'],
    ['G2: a name with a line end in it', '\x80\x04\x8c\x02os\x8c\x07system\n\x93)R.', 'os.system\n'],
    ['G2: a name that only looks like one', '\x80\x04\x8c\x0bcollections\x8c\x0cOrderedDi\xd1\x81t\x93)R.', 'collections.OrderedDi\u0441t'],
    ['G3: getattr', 'cbuiltins\ngetattr\n(ctorch\nload\nU\x08__init__tR.', 'builtins.getattr'],
    ['G3: attrgetter', 'coperator\nattrgetter\nU\x06system\x85R.', 'operator.attrgetter'],
    ['G3: partial', 'cfunctools\npartial\n)R.', 'functools.partial'],
    ['G3: getattr of a module that another one has imported', 'cbuiltins\ngetattr\n(crandom\n_os\nU\x04systtR.', 'builtins.getattr'],
    ['G3: getattr of a module that is called like a class', 'cbuiltins\ngetattr\n(cPIL\nImage\nU\x02ostR.', 'builtins.getattr'],
    ['G3: getattr of builtins there', 'cbuiltins\ngetattr\n(cPIL\nImage\nU\x08builtinstR.', 'builtins.getattr'],
    ['G3: getattr by a dunder name', 'cbuiltins\ngetattr\n(cmine\nThing\nU\x0b__globals__tR.', 'builtins.getattr'],
    ['G3: getattr of a function', 'cbuiltins\ngetattr\n(cmine\nmake\nU\x01xtR.', 'builtins.getattr'],
    [
      'G3: getattr of a class on the table, in a module that is closed',
      'cbuiltins\ngetattr\n(cpathlib\nPath\nU\x04touchtR.',
      'builtins.getattr',
    ],
    ['G3: getattr of a tensor class of torch by a harmful name', 'cbuiltins\ngetattr\n(ctorch\nTensor\nU\x04loadtR.', 'builtins.getattr'],
    ['G3: getattr by a computed name', 'cbuiltins\ngetattr\n(cmine\nThing\nc_codecs\nencode\nU\x01x\x85RtR.', 'builtins.getattr'],
    ['G3: getattr with a default', 'cbuiltins\ngetattr\n(cmine\nThing\nU\x01xNtR.', 'builtins.getattr'],
    ['G3: getattr as a value', '}U\x01fcbuiltins\ngetattr\ns.', 'builtins.getattr'],
    ['G3: getattr handed to a call', 'cmine\napply\ncbuiltins\ngetattr\n\x85R.', 'builtins.getattr'],
    [
      'G3: getattr that is called honestly, and used again',
      'cbuiltins\ngetattr\nq\x00(cmine\nThing\nU\x01xtRh\x00\x86.',
      'builtins.getattr',
    ],
    ['G3: getattr that is doubled', 'cbuiltins\ngetattr\n2(cmine\nThing\nU\x01xtR\x86.', 'builtins.getattr'],
    ['G3: getattr of what getattr gave', 'cbuiltins\ngetattr\nq\x00(h\x00(cmine\nThing\nU\x01xtRU\x01ytR.', 'builtins.getattr'],
    ['G3: getattr of what a function gave', 'cbuiltins\ngetattr\n(cmine\nmake\n)RU\x01xtR.', 'builtins.getattr'],
    ['G3: getattr of a partial', 'cbuiltins\ngetattr\n(cfunctools\npartial\n(cmine\nThing\ntRU\x04functR.', 'builtins.getattr'],
    ['G3: a call of an attribute', 'cbuiltins\ngetattr\n(cmine\nThing\nU\x04maketR)R.', 'mine.Thing.make'],
    ['G3: a new object of an attribute', 'cbuiltins\ngetattr\n(cmine\nThing\nU\x04maketR)\x81.', 'mine.Thing.make'],
    ['G3: a call of a method', 'cbuiltins\ngetattr\n(cmine\nThing\n)\x81U\x04maketR)R.', 'builtins.getattr'],
    ['G3: a call of a dotted attribute', '\x80\x04\x8c\x04mine\x8c\x0aThing.make\x93)R.', 'mine.Thing.make'],
    ['G3: a state set on an attribute', 'cbuiltins\ngetattr\n(cmine\nThing\nU\x04maketR}b.', 'builtins.getattr'],
    ['G3: an item set on an attribute', 'cbuiltins\ngetattr\n(cmine\nThing\nU\x04maketRNNs.', 'builtins.getattr'],
    [
      'G3: an attribute as the builder of a tensor',
      'ctorch._tensor\n_rebuild_from_type_v2\n(cbuiltins\ngetattr\n(cmine\nThing\nU\x04maketRctorch\nTensor\n)}tR.',
      'torch._tensor._rebuild_from_type_v2',
    ],
    [
      'G2: a dotted way to the globals of a method',
      '\x80\x04\x8c\x04mine\x8c\x1aThing.__init__.__globals__\x93.',
      'mine.Thing.__init__.__globals__',
    ],
    ['G2: a dotted way through a function', '\x80\x04\x8c\x04mine\x8c\x0dThing.make.ru\x93.', 'mine.Thing.make.ru'],
    ['G3: a partial of a harmful function', 'cfunctools\npartial\n(cos\nsystem\ntR.', 'os.system'],
    ['G3: a partial that gets a harmful function by its state', 'cfunctools\npartial\n(cmine\nThing\ntR(cos\nsystem\n)}Ntb.', 'os.system'],
    ['G3: a partial of getattr', 'cfunctools\npartial\n(cbuiltins\ngetattr\ntR.', 'builtins.getattr'],
    ['G3: a partial of partial', 'cfunctools\npartial\nq\x00(h\x00tR.', 'functools.partial'],
    ['G3: a partial with arguments at once', 'cfunctools\npartial\n(cmine\nThing\nU\x02idtR.', 'functools.partial'],
    ['G3: a partial with another state', 'cfunctools\npartial\n(cmine\nThing\ntR}U\x04funcNsb.', 'functools.partial'],
    ['G3: a call of a partial', 'cfunctools\npartial\n(cmine\nThing\ntR)R.', 'functools.partial'],
    ['G3: an item set on a partial', 'cfunctools\npartial\n(cmine\nThing\ntRNNs.', 'functools.partial'],
    ['G3: an item appended to a partial', 'cfunctools\npartial\n(cmine\nThing\ntRNa.', 'functools.partial'],
    ['G3: a new object of partial', 'cfunctools\npartial\ncmine\nThing\n\x85\x81.', 'functools.partial'],
    [
      'G3: a partial as the builder of a tensor',
      'ctorch._tensor\n_rebuild_from_type_v2\n(cfunctools\npartial\n(cmine\nThing\ntRctorch\nTensor\n)}tR.',
      'torch._tensor._rebuild_from_type_v2',
    ],
    ['G3: builtins behind numpy', 'cnumpy\n__builtins__\n.', 'numpy.__builtins__'],
    ['G4: pickle.loads of a string', 'cpickle\nloads\nC\x01N\x85R.', 'pickle.loads'],
    ['G4: a storage from bytes', 'ctorch.storage\n_load_from_bytes\nC\x01N\x85R.', 'torch.storage._load_from_bytes'],
    ['P1: MEMOIZE counts what PUT stored', '\x80\x04\x8c\x01xq\x00\x8c\x02os\x940h\x01\x8c\x06system\x93)R\x86.', 'os.system'],
    ['P1: a memo entry overwritten', '\x80\x04\x8c\x04mathq\x000\x8c\x02osq\x000h\x00\x8c\x06system\x93)R.', 'os.system'],
    ['P2: operands by the STRING family', "\x80\x04S'os'\nS'system'\n\x93)R.", 'os.system'],
    ['P2: an escaped name', "\x80\x04S'\\x6fs'\nV\\u0073ystem\n\x93)R.", 'os.system'],
    ['P3: INST', '(U\x02idios\nsystem\n.', 'os.system'],
    ['P3: OBJ', '(cos\nsystem\nU\x02ido.', 'os.system'],
    ['P3: NEWOBJ popped', 'csubprocess\nPopen\n)\x810N.', 'subprocess.Popen'],
    ['P4: a broken opcode after the call', 'cos\nsystem\nU\x02id\x85R\xff', 'os.system'],
    ['P4: cut off after the call', 'cos\nsystem\nU\x02id\x85RX\xff\xff\x00\x00', 'os.system'],
    ['P4: a second pickle', '}.cos\nsystem\n)R.', 'os.system'],
    ['P5: a frame that ends inside a name', '\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n)R.', 'os.system'],
  ];
  test.each(cases)('%s', async (_, pickle, name) => {
    const { code, globals, verdict } = await judged(torch(pickle));
    expect({ code, verdict }).toEqual({ code: UNSAFE, verdict: 'dangerous' });
    expect(globals).toContain(name);
  });
});

describe('G3: attributes and partials that are values and no more are read, and never safe', () => {
  const getattr = (of: string, name: string): string => `c__builtin__\ngetattr\n(${of}U${String.fromCharCode(name.length)}${name}tR`;
  const scheduler = 'ctorch.optim.lr_scheduler\nOneCycleLR\n)\x81}U\x05stepsK\x05sb';
  const cases: readonly (readonly [string, string, string])[] = [
    ['a method of a scheduler', getattr(scheduler, '_annealing_cos'), 'torch.optim.lr_scheduler.OneCycleLR._annealing_cos'],
    ['a static method', getattr('ctorch.optim.swa_utils\nSWALR\n', '_cosine_anneal'), 'torch.optim.swa_utils.SWALR._cosine_anneal'],
    ['an object of a nested class', `${getattr('cmine\nOuter\n', 'Inner')})\x81}b`, 'mine.Outer.Inner'],
    ['a member of a nested enum', `${getattr('cmine\nOuter\n', 'Color')}K\x01\x85R`, 'mine.Outer.Color'],
    ['a class in a class in a class', getattr(getattr('cmine\nOuter\n', 'Middle'), 'Inner'), 'mine.Outer.Middle.Inner'],
    ['a nested class as protocol 4 names it', 'X\x04\x00\x00\x00mineX\x0b\x00\x00\x00Outer.Inner\x93)\x81}b', 'mine.Outer.Inner'],
    ['a partial', 'cfunctools\npartial\n(ctorch.optim.adam\nAdam\ntR(ctorch.optim.adam\nAdam\n)}U\x02lrK\x01sNtb', 'functools.partial'],
    [
      'a partial that makes the values of a dict',
      'ccollections\ndefaultdict\ncfunctools\npartial\n(ccollections\ndefaultdict\ntR\x85R',
      'functools.partial',
    ],
    ['a partial of a method', `cfunctools\npartial\n(${getattr(scheduler, 'get_lr')}tR`, 'functools.partial'],
  ];
  const inFile = (value: string): Buffer => torch(`\x80\x02}(U\x0astate_dict${tensor().slice(2, -1)}U\x01v${value}u.`);
  test.each(cases)('%s', async (_, value, name) => {
    expect(await judged(inFile(value))).toEqual({ code: 'read', globals: [], verdict: 'unknown' });
    const header = await readHeader(memorySource(inFile(value)));
    expect(header.globals.filter(({ verdict }) => verdict === 'unknown').map((use) => `${use.module}.${use.name}`)).toContain(name);
  });

  test('no weight may depend on one', async () => {
    const partial = 'cfunctools\npartial\n(cmine\nThing\ntR';
    const file = torch(`${tensor().slice(0, -1)}U\x01v${partial}s.`);
    expect(await judged(file)).toEqual({ code: UNSAFE, globals: [], verdict: 'unknown' });
  });
});

describe('refused for what they are', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['G3: BUILD on a module as a value', 'ctorch\nSize\n}b.', CORRUPT],
    ['G3: a call of a call', 'ccollections\nOrderedDict\n)R)R.', CORRUPT],
    ['G5: an object that never gets its state', 'ctorch\nTensor\n)\x81.', CORRUPT],
    ['G5: SETITEM on a tensor', tensor().replace('Rs.', 'RNNss.'), CORRUPT],
    ['P1: an absent memo entry', 'h\x07.', CORRUPT],
    ['P1: a memo entry that is not a number', 'gabc\n.', CORRUPT],
    ['P2: a computed operand', '\x80\x04c_codecs\nencode\nX\x02\x00\x00\x00os\x85RX\x06\x00\x00\x00system\x93.', CORRUPT],
    ['P3: EXT1', '\x82\x01.', UNSAFE],
    ['P3: EXT2', '\x83\x01\x00.', UNSAFE],
    ['P3: EXT4', '\x84\x01\x00\x00\x00.', UNSAFE],
    ['P5: a frame shorter than an argument', '\x80\x04\x95\x03\x00\x00\x00\x00\x00\x00\x00\x8c\x05hello.', UNSAFE],
    ['P5: a frame within a frame', '\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x95\x01\x00\x00\x00\x00\x00\x00\x00N.', UNSAFE],
    ['P6: no MARK', 'NNt.', CORRUPT],
    ['P6: an unhashable key', '}]Ns.', CORRUPT],
    ['P6: an unhashable item of a set that a call makes', 'cbuiltins\nset\n]]a\x85R.', CORRUPT],
    ['P6: an unhashable key of a dict that a call makes', 'ccollections\nOrderedDict\n]]N\x86a\x85R.', CORRUPT],
    ['P6: a keyword that is not text', 'cmine\nThing\n)}NNs\x92.', CORRUPT],
    ['P6: a number with a zero in front', 'L01\n.', CORRUPT],
    ['P6: a number beyond all floats', 'F1e400\n.', CORRUPT],
    ['P6: a second PROTO', '\x80\x02\x80\x04N.', UNSAFE],
    ['P6: a protocol that does not exist', '\x80\x06N.', CORRUPT],
    ['P7: a length of four gigabytes', 'B\xff\xff\xff\xffN.', CORRUPT],
    ['P7: a negative length', 'T\xff\xff\xff\xffN.', CORRUPT],
    [
      'P7: lists that double',
      `]q\x00${Array.from({ length: 60 }, () => ']q\x00(h\x00h\x00e'.replace('h\x00h\x00', '')).join('0')}.`,
      CORRUPT,
    ],
    ['P7: nesting without end', `${'('.repeat(5_000)}${'t'.repeat(5_000)}.`, CORRUPT],
  ];
  test.each(cases)('%s', async (_, pickle, code) => {
    const result = await judged(torch(pickle));
    if (code === UNSAFE) expect(result.code).toBe(UNSAFE);
    else expect([UNSAFE, CORRUPT]).toContain(result.code);
    expect(['corrupt', 'dangerous', 'safe']).toContain(result.verdict);
    expect(result.verdict === 'safe' ? result.code : 'refused').not.toBe('read');
  });
});

describe('G5: allowed functions with hostile arguments', () => {
  const big = 'J\xff\xff\xff\x7f';
  const cases: readonly (readonly [string, Parameters<typeof tensor>[0]])[] = [
    ['a size beyond the storage', { size: `${big}${big}\x86` }],
    ['a negative size', { size: 'J\xff\xff\xff\xffK\x02\x86' }],
    ['a stride beyond the storage', { stride: `${big}K\x01\x86` }],
    ['a negative stride', { stride: 'J\xff\xff\xff\xffK\x01\x86' }],
    ['an offset beyond the storage', { offset: 'K\x63' }],
    ['a negative offset', { offset: 'J\xff\xff\xff\xff' }],
    ['fewer strides than sizes', { stride: 'K\x01\x85' }],
    ['a wider storage type than the bytes', { type: 'DoubleStorage' }],
    ['more elements than the bytes', { numel: 'K\x63' }],
    ['a size that is not a number', { size: 'U\x012U\x012\x86' }],
    ['a storage type that is none', { type: 'device' }],
    ['a gradient for whole numbers', { type: 'IntStorage', grad: '\x88' }],
    ['a gradient that is not a bool', { grad: 'K\x01' }],
  ];
  test.each(cases)('%s', async (_, lie) => {
    const { code, verdict } = await judged(torch(tensor(lie)));
    expect({ code, verdict }).toEqual({ code: CORRUPT, verdict: 'corrupt' });
  });
});

describe('G5: states of tensors', () => {
  const storage = '(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ';
  const hooks = 'ccollections\nOrderedDict\n)R';
  const parameter = `ctorch.nn.parameter\nParameter\nctorch._utils\n_rebuild_tensor\n(${storage}K\x00K\x04\x85K\x01\x85tR\x85R`;
  const cases: readonly (readonly [string, string, string])[] = [
    ['a tensor of torch 0.1', `ctorch\nFloatTensor\n)\x81(${storage}K\x00K\x04\x85K\x01\x85tb`, 'read'],
    ['a parameter of torch 0.3', `${parameter}(\x88\x89${hooks}tb`, 'read'],
    ['a tensor of another type than its storage', `ctorch\nLongTensor\n)\x81(${storage}K\x00K\x04\x85K\x01\x85tb`, CORRUPT],
    ['a tensor beyond its storage', `ctorch\nFloatTensor\n)\x81(${storage}K\x01K\x04\x85K\x01\x85tb`, CORRUPT],
    ['a tensor without a storage', 'ctorch\nFloatTensor\n)\x81', UNSAFE],
    ['a state that is none', `${parameter}}b`, CORRUPT],
    ['a flag that is not a bool', `${parameter}(K\x01\x89${hooks}tb`, CORRUPT],
    ['hooks', `${parameter}(\x88\x89}NNstb`, CORRUPT],
  ];
  test.each(cases)('%s', async (_, value, code) => {
    const result = await judged(torch(`\x80\x02}U\x01w${value}s.`));
    expect({ code: result.code, isSafe: result.verdict === 'safe' }).toEqual({ code, isSafe: code === 'read' });
  });
});

describe('containers', () => {
  const harmful = bytes('\x80\x02cos\nsystem\n)R.');
  const good: Part = { name: 'a/data.pkl', data: bytes(tensor()) };
  const storage: Part = { name: 'a/data/0', data: Buffer.alloc(16) };

  test.each([['C1: .safetensors'], ['C1: .bin'], ['C1: .txt'], ['C1: no suffix']])('%s does not choose the reader', async (title) => {
    const uri = `memory:///model${title.includes('no suffix') ? '' : title.slice(4)}`;
    await expect(readHeader(memorySource(zip([{ ...good, data: harmful }]), uri))).rejects.toThrow(/os\.system/);
  });

  const refused: readonly (readonly [string, readonly Part[]])[] = [
    ['C2: the flag of encryption', [{ ...good, flags: 0x801 }, storage]],
    ['C2: the flag of strong encryption', [{ ...good, flags: 0x840 }, storage]],
    ['C2: the flag of patched data', [{ ...good, flags: 0x820 }, storage]],
    ['C2: another name in the local header', [{ ...good, local: { name: Buffer.from('a/other.txt') } }, storage]],
    ['C2: a wrong CRC-32', [{ ...good, crc: 1 }, storage]],
    ['C3: two members of a name', [good, { ...good, data: harmful }, storage]],
    ['C3: DATA.pkl after data.pkl', [good, { name: 'a/DATA.pkl', data: harmful }, storage]],
    ['C3: two roots', [good, storage, { name: 'b/data.pkl', data: harmful }]],
    [
      'C6: a deflated member that inflates to more than it says',
      [{ ...good, deflated: true, data: Buffer.alloc(2 ** 20), central: { size: 10 } }, storage],
    ],
  ];
  test.each(refused)('%s', async (_, parts) => {
    const { code, verdict } = await judged(zip(parts));
    expect([UNSAFE, CORRUPT]).toContain(code);
    expect(['corrupt', 'dangerous']).toContain(verdict);
  });

  test('C2: a CRC-32 of 0 is legal', async () => {
    expect(
      await judged(
        zip([
          { ...good, crc: 0 },
          { ...storage, crc: 0 },
        ]),
      ),
    ).toMatchObject({ code: 'read', verdict: 'safe' });
  });

  test('C4: an archive in an archive is named, not believed', async () => {
    const file = zip([good, storage, { name: 'a/inner.pt', data: zip([{ ...good, data: harmful }]) }]);
    const [scan] = await scanFile(memorySource(file));
    expect(scan).toMatchObject({ verdict: 'dangerous', findings: [{ code: 'nested_container', member: 'a/inner.pt' }] });
  });

  test('C5: a legacy magic number that is computed', async () => {
    expect(await judged(bytes('\x80\x02cbuiltins\neval\nU\x011\x85R.\x80\x02K\x01.'))).toMatchObject({
      code: UNSAFE,
      verdict: 'dangerous',
    });
  });

  describe('C6: what members inflate to is counted before it is read', () => {
    // By its directory, of so many bytes, and not too many for those that are stored.
    const stored = randomBytes(2 ** 20);
    const deflated = (name: string, size: number): Part => ({ name, data: stored, deflated: true, central: { size } });
    const findingsOf = async (parts: readonly Part[]) => (await scanFile(memorySource(zip(parts))))[0]!.findings;
    const several = (count: number, suffix: string, size: number): readonly Part[] =>
      Array.from({ length: count }, (_, index) => deflated(`a/${index}.${suffix}`, size));

    test.each(['a/', 'a/data/'])('pickles under %s', async (folder) => {
      const parts = [good, storage, ...several(4, 'pkl', 60 * 2 ** 20).map((part) => ({ ...part, name: folder + part.name.slice(2) }))];
      await expect(readHeader(memorySource(zip(parts)))).rejects.toMatchObject({
        code: CORRUPT,
        message: expect.stringContaining('has 5 pickles of'),
      });
      const unread = (await findingsOf(parts)).filter(({ code }) => code === 'unread_pickle');
      expect(unread.map(({ member }) => member)).toEqual([`${folder}3.pkl`]);
    });

    test('very many pickles', async () => {
      const parts = [good, storage, ...Array.from({ length: 10_000 }, (_, index) => ({ name: `a/${index}.pkl`, data: bytes('N.') }))];
      await expect(readHeader(memorySource(zip(parts)))).rejects.toMatchObject({
        code: CORRUPT,
        message: expect.stringContaining('has 10001 pickles'),
      });
      const files = await scanFile(memorySource(zip(parts)));
      expect(files[0]).toMatchObject({ verdict: 'corrupt', findings: [{ code: 'unread_pickle', member: 'a/9999.pkl' }] });
    });

    test('members that are not pickles by their names', async () => {
      const unread = (await findingsOf([good, storage, ...several(5, 'bin', 60 * 2 ** 20)])).filter(({ code }) => code === 'unread_member');
      expect(unread.map(({ member }) => member)).toEqual(['a/3.bin', 'a/4.bin']);
    });
  });

  test('C6: a header length that lies', async () => {
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(2n ** 40n);
    expect(await judged(Buffer.concat([length, bytes('{"a":1}')]))).toMatchObject({ code: CORRUPT, verdict: 'corrupt' });
  });
});

test('R1: what could not be read is neither safe nor an exception', async () => {
  for (const file of [Buffer.alloc(0), Buffer.alloc(1), bytes('PK\x03\x04'), bytes('\x80'), bytes('{'), Buffer.alloc(5_000, 0xff)])
    expect((await judged(file)).verdict).toBe('corrupt');
});

test('R2: __proto__ is a key like any other', async () => {
  const file = torch(tensor().replace('U\x01w', 'U\x09__proto__'));
  const header = await readHeader(memorySource(file));
  expect(header.weights.map(({ name }) => name)).toEqual(['__proto__']);
  expect(({} as Record<string, unknown>)['tensor']).toBeUndefined();
});
