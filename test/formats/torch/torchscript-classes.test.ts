/** Code members as torch prints them, and lines that it does not print. */
import { expect, test } from '@jest/globals';
import { parseClasses } from '../../../src/formats/torch/torchscript-classes.ts';

const parse = (...lines: readonly string[]) => parseClasses(`${lines.join('\n')}\n`, 'm/code/__torch__.py', 'file:///m.pt');

const MODULE = ['class M(Module):', '  __parameters__ = ["w", "0", ]', '  __buffers__ = ["b", ]'];
const SLOTS = ['  w : Tensor', '  __annotations__ = []', '  __annotations__["0"] = Tensor', '  b : Tensor'];

test('a module: its attributes in order, its lists, its constants left out', () => {
  const classes = parse(
    ...MODULE,
    ...SLOTS,
    '  training : bool',
    '  lin : __torch__.torch.nn.modules.linear.___torch_mangle_4.Linear',
    '  pairs : Dict[str, Tuple[Tensor, Optional[int]]]',
    '  text : Final[str] = "class N(Module):\\n  __parameters__ = [\\"q\\", ]"',
    '  def forward(self: __torch__.M,',
    '    x: Tensor) -> Tensor:',
    '    w = self.w',
    '    return torch.add(x, w)',
  );
  expect([...classes.keys()]).toEqual(['M']);
  const { attributes, parameters, buffers, hasOwnState } = classes.get('M')!;
  expect([...attributes]).toEqual([
    ['w', 'Tensor'],
    ['0', 'Tensor'],
    ['b', 'Tensor'],
    ['training', 'bool'],
    ['lin', '__torch__.torch.nn.modules.linear.___torch_mangle_4.Linear'],
    ['pairs', 'Dict[str, Tuple[Tensor, Optional[int]]]'],
  ]);
  expect([[...parameters], [...buffers!], hasOwnState]).toEqual([['w', '0'], ['b'], false]);
});

test('torch 1.4 says the version first, and nothing of buffers', () => {
  const classes = parse('op_version_set = 1', 'class M(Module):', '  __parameters__ = []', '  mean : Tensor');
  expect(classes.get('M')).toMatchObject({ buffers: undefined });
});

test('several classes and functions; data and interfaces are no modules', () => {
  const classes = parse(
    'def linear(input: Tensor,',
    '    weight: Tensor) -> Tensor:',
    '  if True:',
    '    return input',
    'class P(NamedTuple):',
    '  x : Tensor',
    'class Foo:',
    '  anything goes',
    'class I(ModuleInterface):',
    '  def forward(self, x: Tensor) -> Tensor:',
    '    pass',
    ...MODULE,
    ...SLOTS,
    '  def __getstate__(self: __torch__.M) -> Tensor:',
    '    return self.w',
    '  def __setstate__(self: __torch__.M,',
    '    state: Tensor) -> NoneType:',
    '    self.w = state',
  );
  expect([...classes].map(([name, declared]) => [name, declared?.hasOwnState ?? null])).toEqual([
    ['P', null],
    ['Foo', null],
    ['I', null],
    ['M', true],
  ]);
});

test.each<readonly [string, readonly string[], string]>([
  ['a class of another form', ['class M(Module): pass'], 'line 1 of m/code/__torch__.py is "class M(Module): pass"'],
  ['one class twice', [...MODULE, ...SLOTS, ...MODULE], 'line 8 of m/code/__torch__.py declares "M" a second time'],
  ['one list twice', [...MODULE, '  __buffers__ = []'], 'line 4 of m/code/__torch__.py has a second __buffers__'],
  ['one attribute twice', [...MODULE, ...SLOTS, '  w : int'], 'line 8 of m/code/__torch__.py declares "w" a second time'],
  ['one method twice', [...MODULE, ...SLOTS, '  def f(self):', '    pass', '  def f(self):'], 'defines "f" a second time'],
  ['no list of parameters', ['class M(Module):', '  w : Tensor'], 'a module that has no __parameters__'],
  ['a name that is not declared', MODULE, 'lists "w" and does not declare it'],
  ['a name with quotes', ['class M(Module):', '  __parameters__ = ["a"b", ]'], 'declares nothing that is known'],
  ['a name with an escape', ['class M(Module):', String.raw`  __parameters__ = ["a\x62", ]`], 'declares nothing that is known'],
  ['a comment', [...MODULE, '  w : Tensor  # and more'], 'whose type is none that torch writes'],
  ['a value that is no constant', [...MODULE, '  w : Tensor = x'], 'whose type is none that torch writes'],
  ['another indent', ['class M(Module):', '    __parameters__ = []'], 'declares nothing that is known'],
  ['a tab', ['class M(Module):', '\t__parameters__ = []'], 'declares nothing that is known'],
  ['a line deeper than its attribute', [...MODULE, '  w : Tensor', '    , x'], 'declares nothing that is known'],
  [
    'a string over lines',
    [...MODULE, ...SLOTS, '  def f(self):', '    x = """', 'class N(Module):', '"""'],
    'line 9 of m/code/__torch__.py has a string in triple quotes',
  ],
])('%s is not understood', (_, lines, message) => {
  expect(() => parse(...lines)).toThrow(
    expect.objectContaining({ code: 'CheckpointLoadError', message: expect.stringContaining(message) }),
  );
});
