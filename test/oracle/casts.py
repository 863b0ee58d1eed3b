"""Floats of every kind, and whether a published cast of them is what torch's `.to()` gives: one subcommand for each question."""

import json
import sys

import torch
from safetensors.torch import load_file

FLOATS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "F8_E4M3FNUZ": torch.float8_e4m3fnuz, "F8_E5M2FNUZ": torch.float8_e5m2fnuz, "F8_E8M0": torch.float8_e8m0fnu,
}
SPECIAL = [0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), float("nan"), 5e-324, 1e-45, 6e-8, 2.0**-24, 2.0**-25, 65504.0, 65519.99, 65520.0, 448.0, 464.0, 480.0, 57344.0, 61440.0, 3.4028235e38, 3.4028236e38, 1e308]


def bits_of(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def save(folder, seed):
    """For each kind: every special value, random bits (all patterns of the small kinds), ordinary weights, and a turned view."""
    torch.manual_seed(int(seed))
    content = {}
    for name, dtype in FLOATS.items():
        size = torch.empty(0, dtype=dtype).element_size()
        special = torch.tensor(SPECIAL, dtype=torch.float64)
        content[f"{name}.special"] = special.to(dtype)
        if size <= 2:
            whole = torch.arange(256**size, dtype=torch.int32)
            content[f"{name}.all"] = whole.to(torch.uint8 if size == 1 else torch.uint16).view(dtype)
        content[f"{name}.bits"] = torch.randint(0, 256, (300_000 * size,), dtype=torch.uint8).view(dtype)
        content[f"{name}.weights"] = (torch.randn(317, 251, dtype=torch.float64) * 0.05).to(dtype)
        content[f"{name}.turned"] = (torch.randn(97, 64, dtype=torch.float64) * 300).to(dtype).t()
    torch.save(content, f"{folder}/floats.pt")
    return list(content)


def check(folder, output, wanted):
    """Names whose bits differ from `.to()`, apart from what is NaN on both sides; and whether NaNs have the same bits, too."""
    source = torch.load(f"{folder}/floats.pt", weights_only=True)
    ours = load_file(output)
    differ, nan_bits = [], True
    for name, tensor in source.items():
        theirs, mine = tensor.to(FLOATS[wanted]), ours[name]
        same = bits_of(mine) == bits_of(theirs)
        if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
            differ.append(name)
        elif not same.all():
            size = theirs.element_size()
            nan = torch.isnan(theirs.contiguous().reshape(-1).to(torch.float64)) & torch.isnan(mine.reshape(-1).to(torch.float64))
            if (same.reshape(-1, size).all(1) | nan).all():
                nan_bits = False
            else:
                differ.append(name)
    return {"differ": differ, "nan_bits": nan_bits, "names": len(ours)}


question, *args = sys.argv[1:]
print(json.dumps(save(*args) if question == "save" else check(*args)))
