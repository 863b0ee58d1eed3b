"""Runs the Python of the documentation: `train FOLDER` makes the training that it is about, `run FOLDER` the snippets on stdin, a JSON list."""

import json
import sys
import traceback
import warnings

warnings.filterwarnings("ignore")

import torch

from oracle import lightning_parts, lightning_train, load


def run(snippet, folder):
    """Gives what was checked of a snippet; one that raises, or leaves something else than it says, raises here."""
    Tiny, trainer, data = lightning_parts()
    trained = load("trained.ckpt", weights_only=False)["state_dict"]
    torch.manual_seed(2)
    model = Tiny()
    model.train_dataloader = data
    names = {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters()),
        "trainer": trainer(folder, 6),
    }
    exec(compile(snippet, "snippet", "exec"), names)
    checked = []

    def check(what, holds):
        assert holds, f"{what} does not hold after the snippet"
        checked.append(what)

    def equal(found):
        return found.keys() == trained.keys() and all(torch.equal(value, trained[name]) for name, value in found.items())

    if "model.load_state_dict(" in snippet:
        check("the model has the trained weights", equal(model.state_dict()))
    if isinstance(names.get("weights"), dict):
        check("all weights are there", equal(names["weights"]))
    if "tensor" in names:
        check("the last tensor is the trained one", torch.equal(names["tensor"], trained[names["name"]]))
    if "frozen" in names:
        check("the names of the pipeline are frozen", names["frozen"] == {"net.0.weight", "net.0.bias"})
        check("and no others", all(value.requires_grad == (name not in names["frozen"]) for name, value in model.named_parameters()))
    if "optimizer.load_state_dict(" in snippet:
        check("the optimizer goes on", all(state["step"] == 12 for state in names["optimizer"].state.values()) and len(names["optimizer"].state) > 0)
    if "trainer.fit(" in snippet:
        check("the training goes on", tuple(model.seen[0][:2]) == (3, 12) and names["trainer"].global_step == 24)
    if "manifest" in names:
        check("the manifest was read", len(names["manifest"]["sha256"]) == 64)
    return checked


def attempt(snippet, folder):
    try:
        return {"checked": run(snippet, folder), "error": None}
    except Exception:
        return {"checked": [], "error": traceback.format_exc()}


if __name__ == "__main__":
    question, folder = sys.argv[1:]
    print(json.dumps(lightning_train(folder) if question == "train" else [attempt(snippet, folder) for snippet in json.load(sys.stdin)]))
