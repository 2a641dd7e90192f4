"""What the processes of ``test_training_distributed.py`` do; ``torchrun`` starts them.

torchrun --nproc-per-node 2 distributed_worker.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from training_data import ragged, toy, toy_network, written_rows

from token2wave.cli.main import main
from token2wave.errors import DistributedError
from token2wave.options import TrainOptions
from token2wave.pipeline import train
from token2wave.training import checkpoint as checkpoint_module
from token2wave.training import distributed
from token2wave.training.callbacks import Callback, History
from token2wave.training.examples import Examples
from token2wave.training.gradient_sync import GradientSync
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

NETWORK = ["--set", "network.width=8", "--set", "network.context_width=4"]


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
    return Examples(toy(n_texts).features, targets.argmax(axis=1), None, targets, positive)


def cases() -> dict[str, tuple[Examples, Recipe, dict[str, Any]]]:
    """Texts, recipe and shape of each training that must not depend on the number of processes."""
    sgd = RECIPE.replace(embedding_optimizer="sgd", embedding_lr=0.5, embedding_weighting="idf")
    weighted_rows = RECIPE.replace(embedding_weighting="idf", batch_size=7)
    found: dict[str, tuple[Examples, Recipe, dict[str, Any]]] = {
        "adam": (toy(59), RECIPE, {"variants": "linear", "readout": "cls", "dropout": 0.5}),
        "weighted rows": (toy(59), weighted_rows, {"dropout": 0.3}),
        "context, sgd": (ordered(), sgd, {**ADDITIVE, "dropout": 0.3}),
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


@distributed.run_distributed
def check_cases(*, options: TrainOptions, callbacks: object, folder: Path) -> None:
    """Train every case; rank 0 writes what it gives."""
    for name in cases():
        arrays, history = fitted(name)
        if not distributed.rank():
            np.savez(folder / f"{name}.npz", **arrays)
            figures = {"epochs": [vars(epoch) for epoch in history.epochs], "lr_factor": history.lr_factor}
            (folder / f"{name}.json").write_text(json.dumps(figures))


@distributed.run_distributed
def check_traffic(*, options: TrainOptions, callbacks: object, folder: Path) -> None:
    """Count the bytes of all collectives on tensors, for small and large tables."""
    counted, figures = [0], {}
    originals = dist.all_gather, dist.all_reduce

    def counting(function: Any, sent: int) -> Any:
        def call(*arguments: Any, **others: Any) -> Any:
            counted[0] += arguments[sent].nbytes
            return function(*arguments, **others)

        return call

    dist.all_gather, dist.all_reduce = counting(originals[0], 1), counting(originals[1], 0)
    for n_rows, batch_size in ((13, 16), (20_000, 16), (20_000, 64)):
        network = toy_network(0, width=8)
        torch.manual_seed(0)  # the same network in both
        network = type(network)(network.config.replace(n_rows=n_rows))
        wide = np.arange(64 * 5, dtype=np.int32).reshape(64, 5) % n_rows
        examples = Examples(ragged(wide.tolist()), (np.arange(64) % 3).astype(np.int64))
        traffic = distributed.traffic()
        assert traffic is not None
        before, counted[0] = vars(traffic).copy(), 0
        recipe = RECIPE.replace(epochs=1, batch_size=batch_size, token_dropout=0.0)
        fit(network, examples, None, recipe, seed=0, has_cls=False)
        added = {name: value - before[name] for name, value in vars(traffic).items()}
        figures[f"{n_rows}, {batch_size}"] = {**added, "counted": counted[0], "table": n_rows * 8 * 4}
    dist.all_gather, dist.all_reduce = originals
    if not distributed.rank():
        (folder / "traffic.json").write_text(json.dumps(figures))


@distributed.run_distributed
def check_differences(*, options: TrainOptions, callbacks: object, folder: Path) -> None:
    """Weights, examples and settings that differ between ranks."""
    rank, network, messages = distributed.rank(), toy_network(0), {}
    traffic = distributed.traffic()
    assert traffic is not None
    gradient_sync = GradientSync(network, traffic)
    gradient_sync.require_same_weights()
    with torch.no_grad():
        network.head.bias[0] += rank
    tries: dict[str, Callable[[], object]] = {
        "weights": gradient_sync.require_same_weights,
        "initial weights": lambda: fit(toy_network(rank), toy(40), None, RECIPE, seed=0, has_cls=False),
        "examples": lambda: fit(toy_network(0), toy(40, seed=rank), None, RECIPE, seed=0, has_cls=False),
        "seed": lambda: fit(toy_network(0), toy(40), None, RECIPE, seed=rank, has_cls=False),
        "recipe": lambda: fit(
            toy_network(0), toy(40), None, RECIPE.replace(lr=1 + rank), seed=0, has_cls=False
        ),
    }
    for name, function in tries.items():
        try:
            function()
        except DistributedError as error:
            messages[name] = str(error)
    (folder / f"differences-{rank}.json").write_text(json.dumps(messages))


class CopyCheckpoint(Callback):
    """Copies the checkpoint of an epoch, as a run that stops there leaves it."""

    def __init__(self, checkpoint: Path, copies: list[Path]) -> None:
        self.checkpoint, self.copies = checkpoint, copies

    def on_epoch(self, epoch: Any) -> None:
        if epoch.epoch == 2:
            for copy in self.copies:
                copy.write_bytes(self.checkpoint.read_bytes())


def check_checkpoints(folder: Path) -> None:
    """A run from its start, and one that resumes after two epochs with as many processes."""
    data, rank = folder / "rows.csv", int(os.environ["RANK"])
    if rank:  # any attempt to write a checkpoint fails
        checkpoint_module.atomic_write = None  # type: ignore[assignment]
    checkpoint, copies = folder / "whole.checkpoint", [folder / "two.checkpoint", folder / "one.checkpoint"]
    whole = train(
        data,
        out=folder / "whole.safetensors",
        checkpoint=checkpoint,
        callbacks=[CopyCheckpoint(checkpoint, copies)],
        **PAPER,
    )
    train(data, out=folder / "resumed.safetensors", checkpoint=copies[0], resume=True, **PAPER)
    search = train(data, candidates=3, **{**PAPER, "epochs": 1}).summary.search
    text = written_rows(1, seed=9)[0][0]
    (folder / f"classifier-{rank}.json").write_text(
        json.dumps(
            [whole.classifier.predict(text).label, whole.summary.validation_accuracy, search["settings"]]
        )
    )


def check_command_line(folder: Path) -> None:
    """A training from the command line; what each rank prints goes into files of its own."""
    argv = ["train", "few.csv", "--out", "m.safetensors", "--epochs", "2", "--json", *NETWORK]
    sys.argv = ["token2wave", *argv, "--set", "recipe.refit_below=0"]
    rank = os.environ["RANK"]
    with ExitStack() as stack:
        out, err = (stack.enter_context((folder / f"{name}-{rank}").open("w")) for name in ("out", "err"))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        try:
            main()
        except SystemExit as stop:
            print(f"status {stop.code or 0}", file=err)


def run_rank(rank: int, port: int, folder: Path, arguments: list[str]) -> None:
    """Be one of two processes of a launcher that run the command line; what they print goes into files."""
    os.chdir(folder)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    # As under torchrun: the store outlives the ranks.
    os.environ |= dict.fromkeys(("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"), "0")
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    sys.argv = ["token2wave", *arguments]
    warnings.simplefilter("error")
    main()


def check_failure(folder: Path) -> None:
    """Options that differ end the training in both ranks, and the next one is refused."""
    rank, messages = int(os.environ["RANK"]), []
    for seed in (rank, 0):
        try:
            train(folder / "rows.csv", **{**PAPER, "seed": seed})
        except DistributedError as error:
            messages.append(f"{type(error).__name__}: {error}")
    (folder / f"failure-{rank}.json").write_text(json.dumps(messages))


if __name__ == "__main__":
    torch.set_num_threads(1)
    where = Path(sys.argv[1])
    for check in (check_cases, check_traffic, check_differences):
        check(options=TrainOptions(device="cpu"), callbacks=(), folder=where)
    check_checkpoints(where)
    check_command_line(where)
    check_failure(where)
    sys.stdout.flush()
    os._exit(0)  # as the command line ends after a failure: the group's threads may still wait
