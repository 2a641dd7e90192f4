"""What the processes of ``test_training_distributed.py`` do; ``torchrun`` starts them.

torchrun --nproc-per-node 2 distributed_worker.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from training_data import ragged, toy, toy_network, write_csv, written_rows

from token2wave.errors import DistributedError, RemoteError
from token2wave.pipeline import train
from token2wave.training import distributed
from token2wave.training.callbacks import Callback, History
from token2wave.training.distributed.exchange import Exchange
from token2wave.training.distributed.group import Group
from token2wave.training.distributed.roles import follow
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.recipe import Recipe

RECIPE = Recipe(
    epochs=2,
    batch_size=16,
    lr=5e-3,
    embedding_lr=5e-3,
    token_dropout=0.3,
    label_smoothing=0.1,
    precision="float32",
)
ADDITIVE = {"variants": "rows", "context_width": 4}
PAPER = {
    "preset": "paper",
    "epochs": 3,
    "settings": {"network.width": 16, "recipe.precision": "float32", "recipe.batch_size": 24},
}


def ordered(n_texts: int = 59) -> Examples:
    """Texts whose last two features are no tokens of the reading order; some have no feature."""
    examples = toy(n_texts)
    texts = np.split(examples.features.ids, examples.features.offsets[1:-1])
    lists = [text.tolist() if i % 13 else [] for i, text in enumerate(texts)]
    return Examples(ragged(lists, [max(0, len(text) - 2) for text in lists]), examples.labels)


def weighted(n_texts: int = 59) -> Examples:
    random = np.random.default_rng(3)
    return replace(toy(n_texts), weights=random.random(n_texts).astype(np.float32) + 0.1)


def several(n_texts: int = 59) -> Examples:
    random = np.random.default_rng(4)
    targets = (random.random((n_texts, 3)) < 0.4).astype(np.float32)
    positive = np.array([1.0, 3.0, 0.5], dtype=np.float32)
    return Examples.of_targets(toy(n_texts).features, targets, None, positive)


def cases() -> dict[str, tuple[Examples, Recipe, dict[str, Any]]]:
    """Texts, recipe and shape of each training that must not depend on the number of processes."""
    sgd = RECIPE.replace(embedding_optimizer="sgd", embedding_lr=0.5, embedding_weighting="idf")
    weighted_rows = RECIPE.replace(embedding_weighting="idf", batch_size=7)
    found: dict[str, tuple[Examples, Recipe, dict[str, Any]]] = {
        "adam": (toy(59), RECIPE, {"variants": "linear", "readout": "cls", "dropout": 0.5}),
        "weighted rows": (toy(59), weighted_rows, {"dropout": 0.3}),
        "phrases, sgd": (ordered(), sgd, {**ADDITIVE, "dropout": 0.3}),
        "weights of texts": (weighted(), RECIPE, {"dropout": 0.2}),
        "several labels": (several(), RECIPE, {**ADDITIVE, "multi_label": True}),
        "layers": (toy(59), RECIPE, {"layers": 2, "readout": "mean", "dropout": 0.4}),
        "a text in the last batch": (toy(17), RECIPE.replace(batch_size=8), {}),
        "one text in a batch": (toy(9), RECIPE.replace(batch_size=1), {}),
        "rates too large": (toy(40), sgd.replace(embedding_lr=1e22, lr=1e-2), ADDITIVE),
        "bfloat16": (toy(59), RECIPE.replace(precision="bfloat16"), {"dropout": 0.2}),
    }
    return found


def fitted(name: str) -> tuple[dict[str, np.ndarray], History]:
    """Weights and history of a case."""
    examples, recipe, shape = cases()[name]
    network = toy_network(3, **shape)
    validation = examples if network.config.multi_label else toy(300, seed=1)
    history = fit(network, examples, validation, recipe, seed=5, has_cls=False)
    return network.arrays(), history


def together(lead: Any) -> None:
    """Lead or follow while a function trains."""
    group = Group("cpu")
    if group.is_leader:
        token = distributed._leading.set(group)
        lead(group)
        distributed._leading.reset(token)
        group.command("result")
    else:
        follow(group)


def check_cases(folder: Path) -> None:
    def lead(_: Group) -> None:
        for name in cases():
            arrays, history = fitted(name)
            np.savez(folder / f"{name}.npz", **arrays)
            told = {"epochs": [vars(e) for e in history.epochs], "lr_factor": history.lr_factor}
            (folder / f"{name}.json").write_text(json.dumps(told))

    together(lead)


def check_traffic(folder: Path) -> None:
    """Bytes of the collectives that Python asks for, in trainings of small and large tables."""
    sent, found = [0], {}
    gather, reduce = dist.all_gather, dist.all_reduce

    def counted_gather(into: Any, tensor: torch.Tensor, **options: Any) -> Any:
        sent[0] += tensor.nbytes
        return gather(into, tensor, **options)

    def counted_reduce(tensor: torch.Tensor, **options: Any) -> Any:
        sent[0] += tensor.nbytes
        return reduce(tensor, **options)

    dist.all_gather, dist.all_reduce = counted_gather, counted_reduce

    def lead(group: Group) -> None:
        for n_rows, batch_size in ((13, 16), (20_000, 16), (20_000, 64)):
            network = toy_network(0, width=8)
            with torch.no_grad():
                network = type(network)(network.config.replace(n_rows=n_rows))
            wide = np.arange(64 * 5, dtype=np.int32).reshape(64, 5) % n_rows
            examples = Examples(ragged(wide.tolist()), (np.arange(64) % 3).astype(np.int64))
            before, sent[0] = vars(group.traffic).copy(), 0
            recipe = RECIPE.replace(epochs=1, batch_size=batch_size, token_dropout=0.0)
            fit(network, examples, None, recipe, seed=0, has_cls=False)
            more = {name: value - before[name] for name, value in vars(group.traffic).items()}
            found[f"{n_rows}, {batch_size}"] = {**more, "counted": sent[0], "table": n_rows * 8 * 4}

    together(lead)
    dist.all_gather, dist.all_reduce = gather, reduce
    if found:
        (folder / "traffic.json").write_text(json.dumps(found))


def check_weights(folder: Path) -> None:
    """Processes that have lost each other notice."""
    group, network = Group("cpu"), toy_network(0)
    exchange = Exchange(group, network)
    exchange.require_same_weights()
    with torch.no_grad():
        network.head.bias[0] += group.rank
    try:
        exchange.require_same_weights()
        said = ""
    except DistributedError as error:
        said = str(error)
    (folder / f"weights-{group.rank}.txt").write_text(said)


class Stops(Callback):
    """Interrupts a run after an epoch."""

    def on_epoch(self, epoch: Any) -> None:
        if epoch.epoch == 2:
            raise OSError("stopped on purpose")


def check_checkpoints(folder: Path) -> None:
    """A run that is interrupted, and goes on with as many processes."""
    data, checkpoint = folder / "rows.csv", folder / "two.checkpoint"
    rank = int(os.environ["RANK"])
    if rank == 0:
        write_csv(data, written_rows(300))
    whole = train(data, out=folder / "whole.safetensors", **PAPER)
    try:
        train(data, checkpoint=checkpoint, callbacks=[Stops()], **PAPER)
        said = ""
    except (OSError, RemoteError) as error:
        said = f"{type(error).__name__}: {error}"
    (folder / f"stopped-{rank}.txt").write_text(said)
    if rank == 0:
        (folder / "one.checkpoint").write_bytes(checkpoint.read_bytes())
    train(data, out=folder / "resumed.safetensors", checkpoint=checkpoint, resume=True, **PAPER)
    text = written_rows(1, seed=9)[0][0]
    (folder / f"classifier-{rank}.json").write_text(
        json.dumps([whole.classifier.predict(text).label, whole.summary.validation_accuracy])
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    for check in (check_cases, check_traffic, check_weights, check_checkpoints):
        check(place)
