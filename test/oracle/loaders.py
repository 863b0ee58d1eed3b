"""Modules that a loader has to fit together, and what torch says of the result: one subcommand for each question."""

import json
import sys

import torch
from safetensors.torch import load_file


def network(width, seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(6, width),
        torch.nn.BatchNorm1d(width),
        torch.nn.Conv1d(width, 4, 3),
        torch.nn.Sequential(torch.nn.LayerNorm(5), torch.nn.Linear(5, 2, bias=False)),
    )


def save(folder):
    """A trained source and a wider fresh target, whose first layers have another shape."""
    source = network(8, 1)
    torch.save({"state_dict": source.state_dict(), "epoch": 3, "global_step": 40, "optimizer_states": [], "callbacks": {}}, f"{folder}/source.ckpt")
    torch.save(network(12, 2).state_dict(), f"{folder}/target.pt")


def check(folder, output, width):
    """Loads strictly into the target module, then says for each tensor whose values it has."""
    target = network(width, 2)
    fresh = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    source = torch.load(f"{folder}/source.ckpt", weights_only=True)["state_dict"]
    result = target.load_state_dict(load_file(output), strict=True)
    whose = {}
    for name, tensor in target.state_dict().items():
        same = lambda other: other is not None and other.shape == tensor.shape and torch.equal(other, tensor)
        whose[name] = "source" if same(source.get(name)) else "target" if same(fresh[name]) else "neither"
    return {"missing": result.missing_keys, "unexpected": result.unexpected_keys, "whose": whose, "order": list(fresh)}


question, *args = sys.argv[1:]
answer = save(*args) if question == "save" else check(args[0], args[1], int(args[2]))
print(json.dumps(answer))
