"""The bench's peer: what one does with torch and safetensors today.

Usage: peer.py convert SOURCE TARGET [--mmap]   torch.load + save_file of the state dict
       peer.py inspect SOURCE [--mmap]          torch.load, then names, dtypes and shapes

Prints one JSON line: seconds of the imports and of the work itself.
"""
import argparse
import json
import time

began = time.perf_counter()
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

imported = time.perf_counter()
parser = argparse.ArgumentParser()
parser.add_argument("action", choices=["convert", "inspect"])
parser.add_argument("source")
parser.add_argument("target", nargs="?")
parser.add_argument("--mmap", action="store_true")
arguments = parser.parse_args()

checkpoint = torch.load(arguments.source, map_location="cpu", weights_only=True, mmap=arguments.mmap)
weights = checkpoint["state_dict"]
if arguments.action == "convert":
    save_file(weights, arguments.target)
    count = len(weights)
else:
    count = len([(name, str(tensor.dtype), tuple(tensor.shape)) for name, tensor in weights.items()])
done = time.perf_counter()
print(json.dumps({"import": imported - began, "work": done - imported, "tensors": count}))
