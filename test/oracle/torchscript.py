"""Scripted and traced modules as torch saves them into a folder, and what state_dict() says of them when they are loaded again.

Usage: python torchscript.py FOLDER; JSON on stdout: by file name a list of [name, {dtype, shape, sha256}] in torch's order.
"""

import json
import os
import sys
import warnings
from typing import Dict, List, Optional, Tuple

warnings.filterwarnings("ignore")

import torch
from oracle import describe
from torch import nn


class Plain(nn.Module):
    """Parameters, buffers and plain tensors in no order."""

    def __init__(self):
        self.early = torch.ones(2)
        super().__init__()
        self.register_buffer("b", torch.randn(3))
        self.t = torch.randn(4)
        self.w = nn.Parameter(torch.randn(2))
        self.register_buffer("temporary", torch.randn(1), persistent=False)
        self.fixed = nn.Parameter(torch.randn(5), requires_grad=False)
        self.register_parameter("none", None)
        self.register_buffer("nothing", None)
        self.linear = nn.Linear(2, 2)

    def forward(self, x):
        return self.linear(x) + self.w + self.b.sum() + self.t.sum() + self.temporary + self.fixed.sum() + self.early


class Holds(nn.Module):
    optional: Optional[torch.Tensor]
    list: List[torch.Tensor]
    dict: Dict[str, torch.Tensor]
    pair: Tuple[torch.Tensor, int]

    def __init__(self):
        super().__init__()
        self.register_buffer("optional", torch.randn(3))
        self.list, self.dict, self.pair = [torch.randn(1)], {"a": torch.randn(1)}, (torch.randn(1), 3)
        self.w = nn.Parameter(torch.randn(2))

    def forward(self, x):
        return x + self.w + self.list[0] + self.dict["a"] + self.pair[0]


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.plain, self.holds = Plain(), Holds()
        self.layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(12)])
        self.named = nn.ModuleDict({"z": nn.Linear(2, 2), "a": nn.BatchNorm1d(2)})
        self.again = self.layers[0]
        self.tied = nn.Linear(2, 2)
        self.tied.weight = self.again.weight
        self.w = nn.Parameter(torch.randn(2))
        self.register_buffer("b", torch.randn(2))

    def forward(self, x):
        x = self.holds(self.plain(x))
        for layer in self.layers:
            x = layer(x)
        for layer in self.named.values():
            x = layer(x)
        return self.tied(self.again(x)) * self.w + self.b


class OwnState(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = torch.randn(2)

    @torch.jit.export
    def __getstate__(self):
        return (self.t * 2, self.training)

    @torch.jit.export
    def __setstate__(self, state: Tuple[torch.Tensor, bool]):
        self.t, self.training = state[0], state[1]

    def forward(self, x):
        return x + self.t


class Text(nn.Module):
    """Code that holds what looks like declarations."""

    __constants__ = ["text"]

    def __init__(self):
        super().__init__()
        self.text = 'class Text(Module):\n  __parameters__ = ["q", ]\n"""'
        self.linear = nn.Linear(2, 2)

    def forward(self, x):
        print("\nclass Other(Module):\n  __parameters__ = []\n", self.text)
        return self.linear(x)


class OddNames(nn.Module):
    def __init__(self):
        super().__init__()
        self.named = nn.ParameterDict({"a b": nn.Parameter(torch.ones(1)), "é'": nn.Parameter(torch.ones(2))})
        self.linear = nn.Linear(2, 2)

    def forward(self, x):
        return self.linear(x)


def modules():
    rows = torch.randn(3, 2)
    script, trace, freeze = torch.jit.script, torch.jit.trace, torch.jit.freeze
    quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval(), {nn.Linear}, dtype=torch.qint8)
    yield "scripted", script(Nested())
    yield "traced", trace(Nested(), rows)
    yield "mixed", script(nn.Sequential(trace(Plain(), rows), nn.Linear(2, 2)))
    yield "half", script(Plain().half())
    yield "text", script(Text())
    yield "own_state", script(nn.Sequential(OwnState(), nn.Linear(2, 2)))
    yield "lstm", script(nn.LSTM(2, 3, 2, bidirectional=True))
    yield "attention", script(nn.MultiheadAttention(4, 2))
    yield "transformer", script(nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2))
    yield "frozen", freeze(script(Nested().eval()), preserved_attrs=["w", "b", "plain"])
    yield "quantized", script(quantized)
    yield "odd_names", script(OddNames())


def main(folder):
    torch.manual_seed(0)
    paths = []
    for name, module in modules():
        for suffix, save in (("", torch.jit.save), ("_lite", lambda module, path: module._save_for_lite_interpreter(path))):
            # What is built of quantised layers is not for the lite interpreter.
            if suffix == "" or name in ("scripted", "traced"):
                paths.append(f"{name}{suffix}.pt")
                save(module, os.path.join(folder, paths[-1]))
        again = torch.jit.load(os.path.join(folder, f"{name}.pt"))
        paths.append(f"{name}_again.pt")
        again.save(os.path.join(folder, paths[-1]))
    return {path: [[name, describe(value)] for name, value in torch.jit.load(os.path.join(folder, path)).state_dict().items()] for path in paths}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
