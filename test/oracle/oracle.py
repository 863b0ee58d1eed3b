"""What torch, safetensors, Lightning and zipfile say, as JSON on stdout: one subcommand for each question."""

import argparse
import collections
import hashlib
import json
import math
import os
import sys
import warnings
import zipfile

warnings.filterwarnings("ignore")

import torch
import torch.utils.serialization

DTYPES = {
    torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.uint16: "U16", torch.int32: "I32", torch.uint32: "U32",
    torch.int64: "I64", torch.uint64: "U64", torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64",
    torch.complex32: "C32", torch.complex64: "C64", torch.complex128: "C128", torch.float8_e5m2: "F8_E5M2", torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e8m0fnu: "F8_E8M0", torch.float8_e4m3fnuz: "F8_E4M3FNUZ", torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
}

# Kinds that torch stores and hardly computes with: named where a file has them, not made here.
NAMES = DTYPES | {
    getattr(torch, name): ours
    for name, ours in {
        "bits8": "BITS8", "bits16": "BITS16", "bits1x8": "BITS1X8", "bits2x4": "BITS2X4", "bits4x2": "BITS4X2",
        "bcomplex32": "BC32", "float4_e2m1fn_x2": "F4_X2",
    }.items()
    if hasattr(torch, name)
}


def raw(tensor):
    """The contiguous bytes of a tensor's values."""
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return b"" if tensor.numel() == 0 else tensor.view(torch.uint8).numpy().tobytes()


def describe(tensor):
    return {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "sha256": hashlib.sha256(raw(tensor)).hexdigest()}


def walk(value, path="", above=()):
    """Every tensor of nested dicts, lists and tuples by its path."""
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, f"{path}.{key}" if path else str(key), (*above, id(value)))
    elif isinstance(value, (list, tuple)) and id(value) not in above:
        for index, item in enumerate(value):
            yield from walk(item, f"{path}[{index}]", (*above, id(value)))


def any_bits(dtype, count):
    """Every bit pattern is a value: random ones, NaN and infinity among them."""
    if dtype is torch.bool:
        return torch.randint(0, 2, (count,), dtype=torch.bool)
    size = torch.empty(0, dtype=dtype).element_size()
    return torch.randint(0, 256, (count * size,), dtype=torch.uint8).view(dtype)


class Branches(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, 3)
        self.norm = torch.nn.BatchNorm2d(5)
        self.lstm = torch.nn.LSTM(4, 6, num_layers=2, bidirectional=True)
        self.attention = torch.nn.MultiheadAttention(8, 2)
        self.embedding = torch.nn.Embedding(7, 8)
        self.head = torch.nn.Linear(8, 7, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("steps", torch.tensor(3))


def trained():
    """A model after a few steps of several optimizers, in the shape of torch's tutorial."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))
    first, second = torch.optim.AdamW(model[0].parameters(), amsgrad=True), torch.optim.SGD(model[2].parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(first, max_lr=0.1, total_steps=20)
    for _ in range(3):
        model(torch.randn(5, 4)).square().mean().backward()
        first.step(), second.step(), schedule.step()
    return {
        "epoch": 3,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": {"first": first.state_dict(), "second": second.state_dict()},
        "scheduler_state_dict": schedule.state_dict(),
        "best": float("inf"),
        "ema": {name: value.clone() for name, value in model.state_dict().items()},
    }


def plain_values():
    """Whatever `weights_only` takes, beside one weight."""
    shared, cycle = [1, 2], []
    cycle.append(cycle)
    ordered = collections.OrderedDict([("b", 1), ("a", 2)])
    ordered.note = {"kept": True}
    return {
        "model_state_dict": collections.OrderedDict(weight=torch.ones(2)),
        "ints": [0, 1, -1, 255, 256, 65535, 65536, -129, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**53, -(2**63), 2**64, 10**300],
        "floats": [0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 5e-324, 1e308],
        "texts": ["", "é🜂", "\x00\n", "x" * 70000, "\ufeff"],
        "bytes": [b"", b"\x00\xff\x80", bytearray(b"\xfe\x01")],
        "none": [None, True, False],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ((), ((1,),))],
        "sets": [set(), {1, "a", (2, 3)}],
        "counter": collections.Counter("hello"),
        "ordered": ordered,
        "complex": [1 + 2j, complex(-0.0, math.inf)],
        "torch": [torch.Size([2, 3]), torch.Size([]), torch.device("cpu"), torch.device("cuda", 1), torch.strided, torch.float8_e5m2, torch.qint8],
        "parameters": [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(1), requires_grad=False), torch.ones(1, requires_grad=True)],
        "shared": [shared, shared],
        "keys": {1: "int", 2.5: "float", None: "none", (1, "a"): "tuple", b"x": "bytes", True: "one"},
        "cycle": cycle,
        "many": {f"k{index}": index for index in range(2500)},
    }


def save(folder, seed):
    """Files as torch saves them here and now, each with the digests of its tensors by path."""
    torch.manual_seed(seed)
    base = torch.randn(6, 8, 4)
    tied = torch.randn(4, 4)
    contents = {
        "module.pt": Branches().state_dict(),
        "dtypes.pt": {name: any_bits(dtype, 24).reshape(2, 3, 4) for dtype, name in DTYPES.items()},
        "views.pt": {
            "base": base, "row": base[2], "column": base[:, 3], "turned": base.permute(2, 0, 1), "steps": base[::2, 1::3], "one": base[1, 2, 3],
            "expanded": torch.randn(3, 1).expand(3, 5), "diagonal": torch.randn(9, 9).diagonal(), "empty": base[:0], "scalar": torch.tensor(2.5),
            "conjugate": torch.randn(3, 2, dtype=torch.complex64).conj(), "negative": torch.randn(3, dtype=torch.complex64).conj().imag,
        },
        "tied.pt": {"a": tied, "b": tied, "turned": tied.t(), "flat": tied.view(-1), "copy": tied.clone()},
        "training.pt": trained(),
        "values.pt": plain_values(),
    }
    expected = {}
    for name, content in contents.items():
        torch.save(content, os.path.join(folder, name))
        weights = content.get("model_state_dict", content)
        expected[name] = {
            "weights": {key: describe(value) for key, value in weights.items()},
            "others": {path: describe(value) for path, value in walk(content)} if weights is not content else {},
        }
    for old in ("module.pt", "views.pt", "training.pt"):
        name = f"legacy_{old}"
        torch.save(contents[old], os.path.join(folder, name), _use_new_zipfile_serialization=False)
        expected[name] = expected[old]
    from safetensors.torch import save_file

    plain = {name: any_bits(dtype, 12).reshape(3, 4) for dtype, name in DTYPES.items() if name not in ("C32", "C128")}
    save_file(plain, os.path.join(folder, "dtypes.safetensors"), metadata={"made": "here"})
    expected["dtypes.safetensors"] = {"weights": {name: describe(value) for name, value in plain.items()}, "others": {}}
    return expected


def load(path, weights_only=True, **options):
    return torch.load(path, weights_only=weights_only, map_location="cpu", **options)


def weights_of(content):
    for key in ("state_dict", "model_state_dict"):
        if key in content:
            return content[key]
    return content


def check(path):
    """Loads a file in every way there is and describes its weights; the ways must agree."""
    if path.endswith(".safetensors"):
        from safetensors import safe_open
        from safetensors.torch import load_file

        with safe_open(path, "pt") as opened:
            names = list(opened.keys())
        loaded = load_file(path)
        assert sorted(names) == sorted(loaded)
        return {"weights": {name: describe(value) for name, value in loaded.items()}, "ways": 2}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        members = len(archive.namelist())
    found = []
    for options, computed in (({}, False), ({"mmap": True}, False), ({"mmap": True}, True)):
        with torch.utils.serialization.config.patch("load.calculate_storage_offsets", computed):
            found.append({name: describe(value) for name, value in weights_of(load(path, **options)).items()})
    found.append({name: describe(value) for name, value in weights_of(load(path, weights_only=False)).items()})
    assert all(each == found[0] for each in found), "the ways of loading disagree"
    pointers = collections.defaultdict(list)
    for name, value in weights_of(load(path)).items():
        if value.numel() > 0:
            pointers[value.untyped_storage().data_ptr()].append(name)
    return {"weights": found[0], "ways": len(found) + 1, "members": members, "shared": [names for names in pointers.values() if len(names) > 1]}


def check_all(*paths):
    """An answer for each file, in order; what goes wrong with one is its answer."""
    answers = []
    for path in paths:
        try:
            answers.append(check(path))
        except Exception as error:
            answers.append({"error": f"{type(error).__name__}: {error}"[:1000]})
    return answers


def differences(ours, theirs, path="", seen=None):
    """What is not equal, by path: types, values, bits of tensors and floats."""
    seen = {} if seen is None else seen
    if isinstance(theirs, (dict, list)) and id(theirs) in seen:
        if seen[id(theirs)] is not ours:
            yield path, "shared differently"
        return
    if type(ours) is not type(theirs):
        yield path, f"{type(ours).__name__} for {type(theirs).__name__}"
    elif isinstance(theirs, torch.Tensor):
        if describe(ours) != describe(theirs) or ours.requires_grad != theirs.requires_grad:
            yield path, "another tensor"
    elif isinstance(theirs, dict):
        seen[id(theirs)] = ours
        if list(ours) != list(theirs):
            yield path, f"keys {sorted(set(map(str, theirs)) ^ set(map(str, ours)))[:5]}"
        for key in theirs:
            if key in ours:
                yield from differences(ours[key], theirs[key], f"{path}.{key}" if path else str(key), seen)
        if getattr(ours, "__dict__", {}) != getattr(theirs, "__dict__", {}):
            yield path, "attributes"
    elif isinstance(theirs, (list, tuple)):
        if isinstance(theirs, list):
            seen[id(theirs)] = ours
        if len(ours) != len(theirs):
            yield path, f"{len(ours)} items for {len(theirs)}"
        for index, (mine, other) in enumerate(zip(ours, theirs)):
            yield from differences(mine, other, f"{path}[{index}]", seen)
    elif isinstance(theirs, float):
        if str(ours) != str(theirs):
            yield path, f"{ours} for {theirs}"
    elif ours != theirs or repr(type(ours)) != repr(type(theirs)):
        yield path, f"{ours!r} for {theirs!r}"[:200]


def compare(ours, theirs):
    """Our file as `weights_only` loads it against the original as pickle does."""
    return [f"{path}: {what}" for path, what in differences(load(ours), load(theirs, weights_only=False))]


def strict(path):
    """Our state dict into a fresh module, all names and the parts' versions included."""
    model = Branches()
    content = weights_of(load(path))
    result = model.load_state_dict(content, strict=True)
    return {
        "missing": result.missing_keys, "unexpected": result.unexpected_keys,
        "versions": content._metadata["norm"]["version"],
        "equal": all(torch.equal(value, content[name]) for name, value in model.state_dict().items()),
    }


def lightning_parts():
    import logging

    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    class Tiny(pl.LightningModule):
        def __init__(self, width=8, rate=1e-2):
            super().__init__()
            self.save_hyperparameters()
            self.net = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.BatchNorm1d(width), torch.nn.Tanh(), torch.nn.Linear(width, 1))
            self.seen = []

        def training_step(self, batch, index):
            features, wanted = batch
            loss = torch.nn.functional.mse_loss(self.net(features), wanted)
            self.log("loss", loss, on_epoch=True)
            self.seen.append((self.current_epoch, self.global_step, self.optimizers().param_groups[0]["lr"]))
            return loss

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.rate)
            return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)]

    def trainer(folder, epochs):
        callbacks = [ModelCheckpoint(dirpath=folder, monitor="loss", save_last=False), EarlyStopping("loss", patience=50)]
        return pl.Trainer(
            max_epochs=epochs, accelerator="cpu", devices=1, logger=False, callbacks=callbacks, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=folder, log_every_n_steps=1,
        )

    def data():
        source = torch.Generator().manual_seed(5)
        features = torch.randn(32, 4, generator=source)
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(features, features.sum(1, keepdim=True)), batch_size=8)

    return Tiny, trainer, data


def lightning_train(folder):
    Tiny, trainer, data = lightning_parts()
    torch.manual_seed(1)
    run = trainer(folder, 3)
    run.fit(Tiny(), data())
    path = os.path.join(folder, "trained.ckpt")
    run.save_checkpoint(path)
    return {"path": path, "epoch": run.current_epoch, "global_step": run.global_step}


def lightning_resume(folder, path):
    """Training goes on from a file; where it began, how it went, and where it ended."""
    Tiny, trainer, data = lightning_parts()
    torch.manual_seed(2)
    model, run = Tiny(), trainer(folder, 6)
    # Lightning itself then reads with `weights_only`: ours must not need more.
    run.fit(model, data(), ckpt_path=path, weights_only=True)
    kept = run.checkpoint_callback
    return {
        "first": model.seen[0], "steps": len(model.seen), "epoch": run.current_epoch, "global_step": run.global_step,
        "rates": [rate for _, _, rate in model.seen],
        "best": str(kept.best_model_score),
        "weights": {name: describe(value) for name, value in model.state_dict().items()},
        "hyper_parameters": dict(Tiny.load_from_checkpoint(path, weights_only=True).hparams),
    }


def lightning_begin(folder, path):
    """A new training from a file's weights; what they were before its first step, where it began, and at which rate."""
    Tiny, trainer, data = lightning_parts()
    torch.manual_seed(2)
    model, run = Tiny(), trainer(folder, 1)
    content = load(path)
    result = model.load_state_dict(content["model_state_dict"], strict=True)
    weights = {name: describe(value) for name, value in model.state_dict().items()}
    run.fit(model, data())
    return {
        "keys": list(content), "missing": result.missing_keys, "unexpected": result.unexpected_keys, "weights": weights,
        "first": model.seen[0], "global_step": run.global_step,
    }


def weights(path):
    return {name: describe(value) for name, value in weights_of(load(path, weights_only=False)).items()}


def float4(folder):
    """Four-bit floats as torch saves them, and as safetensors saves the same."""
    from safetensors.torch import save_file

    wide = torch.arange(24, dtype=torch.uint8).view(torch.float4_e2m1fn_x2).reshape(2, 3, 4)
    values = {"scale": torch.ones(2), "rows": wide.reshape(6, 4)[2:4], "wide": wide}
    torch.save(collections.OrderedDict(values), f"{folder}/float4.pt")
    alone = wide.view(torch.uint8).reshape(6, 4)[2:4].clone().view(torch.float4_e2m1fn_x2)
    save_file({**values, "rows": alone}, f"{folder}/float4.safetensors", metadata={"format": "pt"})


def many(path, count):
    """Loads a file of very many tensors: their number and the sum of all."""
    content = load(path)
    return {"tensors": len(content), "sum": int(sum(int(value[0]) for value in content.values())), "expected": count}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("question", choices=["save", "check_all", "compare", "strict", "lightning_train", "lightning_resume", "lightning_begin", "weights", "float4", "many", "versions"])
    parser.add_argument("arguments", nargs="*")
    asked = parser.parse_args()
    arguments = [int(each) if each.isdigit() else each for each in asked.arguments]
    stdout, sys.stdout = sys.stdout, sys.stderr
    if asked.question == "versions":
        import numpy, pytorch_lightning, safetensors

        answer = {"torch": torch.__version__, "lightning": pytorch_lightning.__version__, "safetensors": safetensors.__version__, "numpy": numpy.__version__}
    else:
        answer = globals()[asked.question](*arguments)
    stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
