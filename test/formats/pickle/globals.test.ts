/** Names and their verdicts: what advisories and torch's own packages name is dangerous, what people keep in checkpoints is not. */
import { describe, expect, test } from '@jest/globals';
import { judge } from '../../../src/formats/pickle/globals.ts';

const DANGEROUS = `
  os.system posix.system nt.system posixpath.join subprocess.Popen sys.settrace importlib.import_module importlib.util.spec_from_file_location
  _frozen_importlib._gcd_import imp.load_source runpy.run_path pkgutil.resolve_name shutil.rmtree socket.socket ssl.x ctypes.CDLL _ctypes.dlopen
  webbrowser.open urllib.request.urlopen http.client.HTTPSConnection http.server.test smtplib.SMTP pty.spawn pip.main setuptools.setup
  pkg_resources.run_script ensurepip._run_pip pdb.run bdb.Bdb code.interact codeop.compile_command timeit.main trace.Trace cProfile.runctx profile.run
  asyncio.subprocess.create_subprocess_shell multiprocessing.util.spawnv_passfds _multiprocessing.SemLock threading.Thread _thread.start_new_thread
  logging.config.dictConfig functools.partial _functools.reduce operator.attrgetter _operator.call io.open _io.FileIO _io.open _pyio.open
  _posixsubprocess.fork_exec codecs.decode tempfile.mkstemp sqlite3.connect _sqlite3.connect dbm.dumb.open gzip.open zipimport.zipimporter
  inspect.getsource ast.literal_eval gc.get_objects linecache.getline distutils.spawn.spawn idlelib.pyshell.ModifiedInterpreter
  lib2to3.pgen2.grammar.Grammar doctest.debug_script unittest.main test.support.script_helper.assert_python_ok _testcapi.run_in_subinterp
  _aix_support._read_cmd_output _osx_support._read_output _pyrepl.pager.pipe_pager _interpreters.run_string IPython.embed pydoc.locate uuid.getnode
  builtins.eval builtins.exec builtins.compile builtins.open builtins.getattr builtins.__import__ builtins.breakpoint builtins.map builtins.type
  __builtin__.execfile types.FunctionType types.CodeType copyreg.add_extension marshal.loads pickle.loads dill.loads cloudpickle.loads joblib.load
  shelve.open pandas.read_pickle pandas.eval pandas.io.pickle.read_pickle numpy.load numpy.f2py.crackfortran.getlincoef numpy.ctypeslib.load_library
  numpy.testing._private.utils.runstring numpy.__builtins__ numpy.core.multiarray.fromfile scipy.io.loadmat yaml.unsafe_load jsonpickle.decode
  hydra.utils.instantiate transformers.pipelines.pipeline huggingface_hub.hf_hub_download torch.load torch.save torch.compile torch.hub.load
  torch.serialization.load torch.storage._load_from_bytes torch.utils.cpp_extension.load torch.utils.data.datapipes.utils.decoder.basichandlers
  torch.utils.model_zoo.load_url torch.utils._config_module.ConfigModule torch._inductor.codecache.compile_file torch._dynamo.guards.GuardBuilder
  torch.distributed.launcher.api.launch_agent torch.fx.experimental.symbolic_shapes.ShapeEnv torch.jit.unsupported_tensor_ops.execWrapper torch.jit.load
  torch.package.PackageImporter torch.export.load torch.compiler.compile torch.func.vmap torch._C._parse_to torch._C._nn._parse_to torch._C._nn.anything torch._C._nn.sub.gelu torch._C.import_ir_module
  operator.itemgetter torch._C._VariableFunctionsClass torch._C.PyTorchFileReader
  torch.cuda.jiterator._create_jit_fn torchvision.io.read_file
  anything.at_all.eval anything.at_all.read_pickle weakref.finalize
`;
const UNKNOWN = `
  __main__.Config my.package.Thing pytorch_lightning.utilities.parsing.AttributeDict lightning_fabric.utilities.data.AttributeDict torch.nn.modules.linear.Linear
  torch.optim.adam.Adam torch.nn.functional.relu deepspeed.runtime.fp16.loss_scaler.LossScaler bitsandbytes.nn.modules.Params4bit pandas.core.frame.DataFrame
  transformers.training_args.TrainingArguments numpy.random._pickle.__generator_ctor numpy.random.bit_generator.__pyx_unpickle_SeedSequence
  torch._C._nn.gelu torch._C._nn.softplus torch._C._nn.log_sigmoid torch._C._nn.scaled_dot_product_attention torch._C.Generator
  numpy.ma.MaskedArray builtins.ValueError exceptions.KeyError builtins.KeyboardInterrupt collections.ChainMap optparse.Values
`;
const SAFE = `
  collections.OrderedDict collections.Counter torch.Tensor torch.Size torch.device torch.FloatTensor torch.cuda.HalfTensor torch.float8_e5m2 torch.UntypedStorage
  torch.storage.UntypedStorage torch.nn.parameter.Parameter torch.serialization._get_layout torch._utils._rebuild_tensor_v3 torch._tensor._rebuild_from_type_v2
  _codecs.encode builtins.set builtins.complex builtins.bytearray pathlib.PosixPath datetime.datetime argparse.Namespace _io.BytesIO
`;
const names = (text: string): readonly string[] => text.trim().split(/\s+/);

describe.each([
  ['dangerous', DANGEROUS],
  ['unknown', UNKNOWN],
  ['safe', SAFE],
])('%s', (verdict, text) => {
  test.each(names(text))('%s', (name) => {
    const dot = name.lastIndexOf('.');
    expect(judge(name.slice(0, dot), name.slice(dot + 1))).toBe(verdict);
  });
});

test.each([
  ['mine', 'Outer.Inner', 'unknown'],
  ['mine', 'Outer._Inner.method', 'unknown'],
  ['torch', 'Tensor.relu', 'unknown'],
  ['mine', 'Outer.Inner.', 'dangerous'],
  ['mine', '.Inner', 'dangerous'],
  ['mine', 'outer.Inner', 'dangerous'],
  ['mine', 'Outer.method.x', 'dangerous'],
  ['mine', 'Outer.__class__', 'dangerous'],
  ['mine', 'Outer.mro', 'dangerous'],
  ['mine', 'Outer.os', 'dangerous'],
  ['mine', 'Outer.builtins', 'dangerous'],
  ['mine', 'Outer.system', 'dangerous'],
  ['numpy', 'Outer.tofile', 'dangerous'],
  ['pathlib', 'Path.touch', 'dangerous'],
  ['functools', 'Outer.Inner', 'dangerous'],
])('of what lies in a class: %s %s is %s', (module, name, verdict) => {
  expect(judge(module, name)).toBe(verdict);
});
