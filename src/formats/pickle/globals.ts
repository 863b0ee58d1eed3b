/**
 * The one place that judges names: what a pickle refers to is known and harmless, unknown, or a way to run code.
 *
 * Invariant: pairs are compared exactly. No prefix or wildcard makes a name safe; a whole module and its submodules can only be
 * dangerous. A name with a control or a non-ASCII character is dangerous whatever its module, and so is one with a dot, unless it is of
 * what lies in a class: that is unknown at best.
 */
import type { Verdict } from '../../model/value.ts';

/** torch's first classes of tensors, of which it made one without values before 0.2 and then gave it its storage by BUILD. */
const TENSOR_CLASSES =
  'FloatTensor DoubleTensor HalfTensor BFloat16Tensor LongTensor IntTensor ShortTensor CharTensor ByteTensor BoolTensor';

const SAFE: Readonly<Record<string, string>> = {
  collections: 'OrderedDict defaultdict Counter deque',
  builtins: 'set frozenset bytearray bytes complex list dict tuple int float str bool slice range object Ellipsis NotImplemented',
  __builtin__:
    'set frozenset bytearray bytes complex list dict tuple int long float str unicode bool slice xrange object Ellipsis NotImplemented',
  _codecs: 'encode',
  copyreg: '_reconstructor __newobj__',
  copy_reg: '_reconstructor __newobj__',
  datetime: 'date datetime time timedelta timezone',
  pathlib: 'PosixPath WindowsPath Path PurePath PurePosixPath PureWindowsPath',
  'pathlib._local': 'PosixPath WindowsPath Path PurePath PurePosixPath PureWindowsPath',
  decimal: 'Decimal',
  fractions: 'Fraction',
  uuid: 'UUID SafeUUID',
  argparse: 'Namespace',
  types: 'SimpleNamespace',
  typing: 'Any',
  numpy:
    'dtype ndarray bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 intc uintc intp uintp longlong ulonglong float16 float32 float64 longdouble ' +
    'complex64 complex128 clongdouble str_ bytes_ unicode_ string_ datetime64 timedelta64 generic number integer floating inexact',
  'numpy.core.multiarray': 'scalar _reconstruct',
  'numpy._core.multiarray': 'scalar _reconstruct',
  'numpy.core.numeric': '_frombuffer',
  'numpy._core.numeric': '_frombuffer',
  'omegaconf.dictconfig': 'DictConfig',
  'omegaconf.listconfig': 'ListConfig',
  'omegaconf.base': 'ContainerMetadata Metadata',
  'omegaconf.nodes': 'AnyNode StringNode IntegerNode FloatNode BooleanNode BytesNode PathNode EnumNode',
  torch:
    `${TENSOR_CLASSES} ` +
    'Size device Tensor per_tensor_affine per_channel_affine per_tensor_symmetric per_channel_symmetric per_channel_affine_float_qparams strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc ' +
    'FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage ByteStorage BoolStorage ComplexFloatStorage ComplexDoubleStorage ' +
    'QInt8Storage QUInt8Storage QInt32Storage QUInt4x2Storage QUInt2x4Storage UntypedStorage',
  'torch.cuda': TENSOR_CLASSES,
  'torch.storage': 'UntypedStorage TypedStorage _UntypedStorage',
  'torch._utils':
    '_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_sparse_csr_tensor ' +
    '_rebuild_meta_tensor_no_storage _rebuild_nested_tensor _rebuild_device_tensor_from_numpy _rebuild_device_tensor_from_cpu_tensor _rebuild_wrapper_subclass',
  'torch._tensor': '_rebuild_from_type_v2 _rebuild_from_type',
  // The same in torch 1.7 and 1.8.
  'torch.tensor': '_rebuild_from_type',
  'torch.serialization': '_get_layout',
  'torch.nn.parameter': 'Parameter Buffer',
};

/** Attributes of `torch` that are dtypes, by safetensors name; the quantised ones have none. */
export const TORCH_DTYPES: Readonly<Record<string, string>> = {
  bool: 'BOOL',
  uint8: 'U8',
  int8: 'I8',
  uint16: 'U16',
  int16: 'I16',
  uint32: 'U32',
  int32: 'I32',
  uint64: 'U64',
  int64: 'I64',
  float16: 'F16',
  bfloat16: 'BF16',
  float32: 'F32',
  float64: 'F64',
  half: 'F16',
  float: 'F32',
  double: 'F64',
  long: 'I64',
  int: 'I32',
  short: 'I16',
  complex32: 'C32',
  complex64: 'C64',
  complex128: 'C128',
  bcomplex32: 'BC32',
  float8_e4m3fn: 'F8_E4M3',
  float8_e5m2: 'F8_E5M2',
  float8_e8m0fnu: 'F8_E8M0',
  float8_e4m3fnuz: 'F8_E4M3FNUZ',
  float8_e5m2fnuz: 'F8_E5M2FNUZ',
  bits8: 'BITS8',
  bits16: 'BITS16',
  bits1x8: 'BITS1X8',
  bits2x4: 'BITS2X4',
  bits4x2: 'BITS4X2',
  float4_e2m1fn_x2: 'F4_X2',
  qint8: '',
  quint8: '',
  qint32: '',
  quint4x2: '',
  quint2x4: '',
};

const DANGEROUS_MODULES = new Set(
  (
    'os posix nt ntpath posixpath subprocess sys importlib imp runpy pickle _pickle cPickle cloudpickle dill joblib marshal shelve shutil socket _socket ssl ctypes _ctypes ' +
    'webbrowser urllib urllib2 http httplib ftplib smtplib telnetlib requests pty pip setuptools ensurepip pkgutil pdb bdb code codeop timeit trace cProfile profile _lsprof pstats ' +
    'asyncio multiprocessing threading _thread concurrent signal logging functools _functools operator _operator io _io codecs tempfile glob fileinput zipimport zipfile tarfile ' +
    'commands popen2 platform inspect ast atexit gc site sysconfig distutils idlelib lib2to3 doctest unittest xmlrpc socketserver sqlite3 venv pydoc turtle tkinter antigravity ' +
    'linecache readline rlcompleter resource mmap faulthandler tracemalloc nntplib poplib imaplib aifc py_compile compileall ' +
    '_frozen_importlib _frozen_importlib_external _imp _pyio _posixsubprocess _posixshmem _multiprocessing _winapi winreg _winreg msvcrt _sqlite3 dbm _dbm _gdbm bz2 gzip lzma ' +
    'netrc mailcap mailbox cgi cgitb wsgiref xml plistlib getpass cmd select selectors fcntl termios tty pwd grp crypt spwd syslog nturl2path zipapp modulefinder pyclbr tabnanny ' +
    'dis symtable pickletools _aix_support _osx_support _pyrepl _tkinter turtledemo test _testcapi _testinternalcapi _xxsubinterpreters _interpreters sitecustomize usercustomize pkg_resources ' +
    'pytest _pytest nose py IPython ipykernel jupyter_client notebook ptpython bpython aiohttp aiofiles httpx urllib3 fsspec s3fs smart_open gdown wget git boto3 botocore docker ' +
    'invoke sh pexpect psutil plumbum celery jsonpickle numexpr jinja2 mako pyximport Cython cython scipy.io pandas.io pandas.core.computation sympy.parsing nltk.data ' +
    'hydra.utils hydra._internal huggingface_hub transformers.pipelines transformers.dynamic_module_utils torchvision.io torchvision.datasets.utils torchaudio torchtext.utils ' +
    'torch.compile torch.compiler torch.export torch._export torch.func torch._functorch torch.profiler torch._custom_ops torch._higher_order_ops torch._logging torch._guards ' +
    'torch._lazy torch._appdirs torch._vendor torch._utils_internal torch._namedtensor_internals torch.cuda.memory torch.cuda.jiterator torch.monitor ' +
    'torch.hub torch.jit torch.package torch.utils torch._inductor torch._dynamo torch.distributed torch.multiprocessing torch.testing torch.fx torch.onnx torch.ops torch._ops torch.cpp torch.classes ' +
    'torch.autograd.function torch.overrides torch.library torch._C numpy.testing numpy.f2py numpy.distutils numpy._distutils numpy.ctypeslib numpy.lib numpy.compat cffi paramiko fabric'
  ).split(' '),
);

/** In whichever module: functions that run text or programs, import by name, or unpickle. */
const DANGEROUS_NAMES = new Set(
  (
    'eval exec execfile system popen Popen fork_exec check_call check_output getoutput getstatusoutput import_module load_module load_library read_pickle load_pickle unpickle ' +
    'unsafe_load unsafe_load_all full_load load_url'
  ).split(' '),
);

/** Modules of which only the names on the table are harmless: any other name is a way to run code or to read files. */
const CLOSED_MODULES = new Set([
  'builtins',
  '__builtin__',
  '_codecs',
  'copyreg',
  'copy_reg',
  'types',
  'torch.serialization',
  'torch.storage',
  'torch._utils',
  'torch._tensor',
  'torch.tensor',
  'pathlib',
  'uuid',
]);
/** Harmless pairs inside dangerous modules: buffers in memory, TorchScript's own list builders, torch's data classes of distributed tensors. */
const EXCEPTIONS = new Set([
  // Bytes in memory; FP8 layers keep their extra state in one.
  '_io BytesIO',
  '_io StringIO',
  'torch.jit._pickle build_intlist',
  'torch.jit._pickle build_doublelist',
  'torch.jit._pickle build_boollist',
  'torch.jit._pickle build_tensorlist',
  'torch.jit._pickle restore_type_tag',
  ...'Metadata TensorStorageMetadata BytesStorageMetadata ChunkStorageMetadata TensorProperties MetadataIndex StorageMeta _MEM_FORMAT_ENCODING'
    .split(' ')
    .map((name) => `torch.distributed.checkpoint.metadata ${name}`),
  'torch.distributed.checkpoint.filesystem _StorageInfo',
  'torch.distributed._shard.sharded_tensor.metadata TensorProperties',
  'torch.distributed._shard.sharded_tensor.metadata MEM_FORMAT_ENCODING',
  // What DTensors are made of: torch allows all of them in its weights-only mode, too. The second module is that of torch before 2.5.
  ...['torch.distributed.tensor', 'torch.distributed._tensor.api'].map((module) => `${module} DTensor`),
  ...['torch.distributed.tensor', 'torch.distributed._tensor'].flatMap((module) =>
    'Shard Replicate Partial _Partial _StridedShard'.split(' ').map((name) => `${module}.placement_types ${name}`),
  ),
  'torch.distributed.tensor._dtensor_spec DTensorSpec',
  'torch.distributed.tensor._dtensor_spec TensorMeta',
  'torch.distributed.tensor._dtensor_spec ShardOrderEntry',
  'torch.distributed._tensor.placement_types DTensorSpec',
  'torch.distributed._tensor.placement_types TensorMeta',
  'torch.distributed.device_mesh DeviceMesh',
  'torch.distributed._mesh_layout _MeshLayout',
  'torch.distributed._mesh_layout _FlatLayout',
]);
/**
 * Inside dangerous modules, and no way to run code: functions of tensors, which `torch.nn.functional` gives under its own name (`F.gelu`,
 * `F.softplus`, `F.logsigmoid`), the generator of random numbers, and classes that hold settings or indexes. Hyper-parameters name them.
 */
const HARMLESS_UNKNOWN = new Set([
  'torch._C Generator',
  'logging getLogger',
  ...'ShardingStrategy BackwardPrefetch MixedPrecision CPUOffload StateDictType FullStateDictConfig LocalStateDictConfig ShardedStateDictConfig'
    .split(' ')
    .map((name) => `torch.distributed.fsdp.api ${name}`),
  ...'Subset TensorDataset ConcatDataset'.split(' ').map((name) => `torch.utils.data.dataset ${name}`),
  ...'SequentialSampler RandomSampler SubsetRandomSampler WeightedRandomSampler BatchSampler'
    .split(' ')
    .map((name) => `torch.utils.data.sampler ${name}`),
  'torch.utils.data.distributed DistributedSampler',
  ...(
    'adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d avg_pool2d avg_pool3d binary_cross_entropy col2im conv_depthwise3d cross_entropy_loss ' +
    'elu elu_ flatten_dense_tensors fractional_max_pool2d fractional_max_pool3d gelu gelu_ glu hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ huber_loss im2col ' +
    'l1_loss leaky_relu leaky_relu_ linear log_sigmoid max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d mish mish_ mse_loss multi_margin_loss ' +
    'multilabel_margin_loss nll_loss nll_loss2d nll_loss_nd one_hot pad pad_sequence reflection_pad1d reflection_pad2d reflection_pad3d relu6 relu6_ replication_pad1d ' +
    'replication_pad2d replication_pad3d rrelu_with_noise rrelu_with_noise_ scaled_dot_product_attention silu silu_ slow_conv3d slow_conv_dilated2d slow_conv_dilated3d ' +
    'slow_conv_transpose2d slow_conv_transpose3d smooth_l1_loss soft_margin_loss softplus softshrink thnn_conv2d unflatten_dense_tensors upsample_bicubic2d upsample_bilinear2d ' +
    'upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d'
  )
    .split(' ')
    .map((name) => `torch._C._nn ${name}`),
]);
const DANGEROUS_PAIRS = new Set([
  'torch load',
  'torch save',
  'torch compile',
  'torch import_ir_module',
  'torch ops',
  'torch classes',
  'torch hub',
  'torch jit',
  'torch os',
  'torch sys',
  'collections namedtuple',
  'collections abc',
  'typing get_type_hints',
  'decimal os',
  'weakref finalize',
  'yaml load',
  'yaml load_all',
  'datasets load_dataset',
  'PIL.Image open',
  'sympy sympify',
  'omegaconf.omegaconf OmegaConf',
]);

/** Python's own exceptions, as a run that ended early may have kept one. */
const EXCEPTION_CLASS = /^[A-Z][A-Za-z]+(Error|Exception|Warning|Interrupt|Exit|Iteration)$/;

/** Of NumPy, under whichever of its modules: names that read or write files, run text, or call what they are given. */
const NUMPY_NAMES = new Set(
  (
    'load loads save savez savez_compressed savetxt loadtxt genfromtxt recfromtxt recfromcsv fromfile tofile fromregex fromstring memmap open_memmap DataSource vectorize frompyfunc ' +
    'fromfunction fromiter apply_along_axis apply_over_axes piecewise set_printoptions seterrcall setbufsize add_newdoc deprecate lookfor source info runstring rundocs ' +
    'exec_command execfile safe_eval NpzFile _exec_command'
  ).split(' '),
);

/** On the table, and no classes: `__new__` of them is an error in Python. */
const FUNCTION_MODULES = new Set([
  '_codecs',
  'copyreg',
  'copy_reg',
  'torch._utils',
  'torch._tensor',
  'torch.tensor',
  'torch.serialization',
  'torch.jit._pickle',
]);
const FUNCTIONS = new Set(['scalar', '_reconstruct', '_frombuffer']);

/** Classes whose fresh object is unusable, and in C++ not even initialised, until BUILD gives it its state. */
const STATEFUL: Readonly<Record<string, string>> = {
  torch: `Tensor ${TENSOR_CLASSES}`,
  'torch.cuda': TENSOR_CLASSES,
  'torch.storage': 'TypedStorage UntypedStorage _UntypedStorage',
  'numpy.core.multiarray': '_reconstruct',
  'numpy._core.multiarray': '_reconstruct',
  uuid: 'UUID',
  'omegaconf.dictconfig': 'DictConfig',
  'omegaconf.listconfig': 'ListConfig',
};
const STATEFUL_PAIRS = new Set(Object.entries(STATEFUL).flatMap(([module, names]) => names.split(' ').map((name) => `${module} ${name}`)));

export function isFunction(module: string, name: string): boolean {
  return judge(module, name) === 'safe' && (FUNCTION_MODULES.has(module) || (module.startsWith('numpy') && FUNCTIONS.has(name)));
}

/** Whether what a call or `__new__` (`isNew`) of it gives is unusable before BUILD. */
export function needsState(module: string, name: string, isNew: boolean): boolean {
  return (isNew || name === '_reconstruct') && STATEFUL_PAIRS.has(`${module} ${name}`);
}

const TENSOR_NAMES = new Set(['Tensor', ...TENSOR_CLASSES.split(' ')]);

/** A class whose new objects are tensors without values. */
export function isTensorClass(module: string, name: string): boolean {
  return (module === 'torch' || module === 'torch.cuda') && TENSOR_NAMES.has(name);
}

const SAFE_PAIRS = new Set(Object.entries(SAFE).flatMap(([module, names]) => names.split(' ').map((name) => `${module} ${name}`)));

/** Dangerous, and not only for a name that is so in whichever module: tells which of the letters before a name are its module's. */
export function isDangerousByModule(module: string, name: string): boolean {
  return judge(module, DANGEROUS_NAMES.has(name) ? '_' : name) === 'dangerous';
}

/** A class by its name: modules and functions are written small. */
const CLASS = /^_?[A-Z][A-Za-z0-9_]*$/;
/** Attributes by which code gets from a harmless value to names that it was not given. */
const WAYS_OUT = new Set(
  'func_globals func_code gi_frame gi_code cr_frame cr_code ag_frame ag_code f_globals f_locals f_builtins f_back f_code tb_frame tb_next mro'.split(
    ' ',
  ),
);

/** Whether a module's name is one that torch gives what it compiled. */
export function isScripted(module: string): boolean {
  return module === '__torch__' || module.startsWith('__torch__.');
}

/** Whether a dotted name is of a class in a class; of all other attributes nothing may be made or called. */
export function isNestedClass(name: string): boolean {
  return name.split('.').every((part) => CLASS.test(part));
}

/** Of `Outer.Inner` and `Outer.method`: the names before the last are classes, and none leads back to a module or to the interpreter. */
function judgeMember(module: string, [owner = '', ...members]: readonly string[]): Verdict {
  const isOfClass = [owner, ...members.slice(0, -1)].every((part) => CLASS.test(part)) && !CLOSED_MODULES.has(module);
  const isHarmless = (member: string): boolean =>
    !member.startsWith('__') &&
    !WAYS_OUT.has(member) &&
    !DANGEROUS_MODULES.has(member) &&
    !CLOSED_MODULES.has(member) &&
    judge(module, member) !== 'dangerous';
  return isOfClass && judge(module, owner) !== 'dangerous' && members.every(isHarmless) ? 'unknown' : 'dangerous';
}

/** Judges `module.name`; the only judge there is. */
export function judge(module: string, name: string): Verdict {
  if (name.includes('.')) return judgeMember(module, name.split('.'));
  const pair = `${module} ${name}`;
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) || !/^[A-Za-z0-9_.]+$/.test(module)) return 'dangerous';
  if (SAFE_PAIRS.has(pair) || EXCEPTIONS.has(pair)) return 'safe';
  if (module === 'torch' && Object.hasOwn(TORCH_DTYPES, name)) return 'safe';
  if (/^(builtins|exceptions)$/.test(module) && EXCEPTION_CLASS.test(name)) return 'unknown';
  if (HARMLESS_UNKNOWN.has(pair)) return 'unknown';
  if (DANGEROUS_PAIRS.has(pair) || CLOSED_MODULES.has(module)) return 'dangerous';
  if (DANGEROUS_NAMES.has(name) || /^__(builtins|import|loader|spec|globals|subclasses|reduce_ex|reduce|getattribute)__$/.test(name))
    return 'dangerous';
  if (/^numpy(\.|$)/.test(module) && (NUMPY_NAMES.has(name) || /^__.*__$/.test(name))) return 'dangerous';
  for (let end = module.length; end > 0; end = module.lastIndexOf('.', end - 1))
    if (DANGEROUS_MODULES.has(module.slice(0, end))) return 'dangerous';
  return 'unknown';
}
