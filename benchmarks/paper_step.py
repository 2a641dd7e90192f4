r"""Our step of the papers' network against the padded reference: same weights, same batches, same optimiser.

    python benchmarks/paper_step.py                              # the papers' size, some ten minutes
    python benchmarks/paper_step.py --steps 10 --width 64 --rows 1000 --runs 1

Writes ``results/benchmarks/paper_step.json``: the losses of both from the same start, step by step; the
speed of both in turns, without dropout and with that of preset ``paper``; and the peak of memory of a process
of each. A step takes the texts of a batch from memory, already as WordPiece ids; builds the tensors; and goes
forward, backward and updates. The reference is ``benchmarks/padded_network.py`` under ``torch.optim.AdamW``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from measuring import command_line, describe_origin, make_parser, spread, write_document
from padded_network import PaddedWaveNetwork, copy_weights, padded, token_lists
from torch import Tensor, nn

from token2wave.data import encode_labels, label_names_of, load_splits
from token2wave.errors import Token2WaveError
from token2wave.formatting import duration, size
from token2wave.models import Batch, WaveConfig, WaveNetwork
from token2wave.process_memory import peak_memory, resident_memory
from token2wave.training.batches import training_batches
from token2wave.training.callbacks import CallbackList
from token2wave.training.examples import Examples
from token2wave.training.optim import Optimizers
from token2wave.training.preparation import features_for
from token2wave.training.presets import preset_named
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import n_batches, rate_factor
from token2wave.training.torch_trainer import TorchTrainer

SCHEMA = 1
OFFICIAL_ROWS = 120_000
MAX_WARM_UP = 5
MAX_STEPS_OF_A_TURN = 10
STEPS_FOR_MEMORY = 30
OPTIMIZERS = {
    "rows": "the preset's own: rows of the embedding that a step does not use stay as they are",
    "dense": "torch.optim.AdamW with dense gradients for the embedding, as the reference has",
}
"""How our network's rows can be updated; ``dense`` equals the reference up to rounding."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts one after the other, and write the document after each."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    setting = make_setting(options.data, options.rows, options.width, options.operation, options.seed)
    if options.memory_of:
        print(json.dumps(measure_memory(setting, options.memory_of, options.steps)))
        return
    names = ("data", "rows", "width", "operation", "steps", "runs", "seed", "threads")
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "name": options.name,
        "command": command_line(__file__, arguments),
        "settings": {key: getattr(options, key) for key in names},
        "turn_steps": min(options.steps, MAX_STEPS_OF_A_TURN),
        "network": setting.network.to_dict(),
        "recipe": setting.recipe.to_dict(),
        "data": {
            "rows": len(setting.examples),
            "tokens_per_text": float(setting.examples.features.lengths.mean()),
            "caveats": list(setting.caveats),
        },
        **describe_origin(options.threads),
    }
    plain, steps, runs = setting.without_dropout(), options.steps, options.runs
    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "losses": lambda: compare_losses(plain, steps),
        "speed": lambda: compare_speed(plain, steps, runs),
        "speed_with_dropout": lambda: compare_speed(setting.in_float32(), steps, runs),
        "speed_of_the_preset": lambda: measure_preset(setting, steps, runs),
        "memory": lambda: memory_of_both(arguments, steps),
    }
    for name, section in sections.items():
        document[name] = section()
        write_document(options.results / f"{options.name}.json", document)
        print(f"{name}: {_describe(name, document[name])}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, name="paper_step", runs=5, seed=0, threads=2)
    parser.add_argument("--data", default="ag_news")
    parser.add_argument("--rows", type=int, help="so many training rows at most")
    parser.add_argument("--width", type=int, help="of the network; by default that of the preset")
    parser.add_argument("--operation", help="interference or modulation; by default that of the preset")
    parser.add_argument("--steps", type=int, default=100, help="whose losses are compared")
    parser.add_argument("--memory-of", choices=("ours", "padded"), help=argparse.SUPPRESS)
    return parser


@dataclass(frozen=True)
class Setting:
    """What both sides train from the same start; the seed decides initial weights, order and dropout."""

    examples: Examples
    network: WaveConfig
    recipe: Recipe
    seed: int
    caveats: tuple[str, ...]

    def in_float32(self) -> Setting:
        """The same without bfloat16."""
        return replace(self, recipe=self.recipe.replace(precision="float32"))

    def without_dropout(self) -> Setting:
        """The same in float32 and without randomness in a step."""
        recipe = self.recipe.replace(precision="float32", token_dropout=0.0, label_smoothing=0.0)
        return replace(self, network=self.network.replace(dropout=0.0), recipe=recipe)

    @property
    def n_steps(self) -> int:
        """Steps of the whole run that the schedule of the rates is made for."""
        return self.recipe.epochs * n_batches(len(self.examples), self.recipe.batch_size)

    def initial(self) -> WaveNetwork:
        """Network with the initial weights that the seed gives."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return WaveNetwork(self.network)


def make_setting(data: str, rows: int | None, width: int | None, operation: str | None, seed: int) -> Setting:
    """Preset ``paper`` on the training rows of a data set, a random sample of them if need be."""
    overrides = {"network.width": width, "network.operation": operation}
    preset = preset_named("paper").with_settings({k: v for k, v in overrides.items() if v is not None})
    splits = load_splits(data)
    names = label_names_of(splits.train, splits.label_names)
    chosen = np.random.default_rng(seed).permutation(len(splits.train))[:rows]
    texts = [splits.train.texts[row] for row in chosen]
    features, ids = features_for(texts, preset, None, splits.train.source)
    examples = Examples(ids, encode_labels(splits.train, names)[chosen])
    network = preset.network_config(features.n_rows, len(names), features.sentence_ends)
    return Setting(examples, network, preset.recipe, seed, splits.caveats)


# ---- the two sides ----


class Step(NamedTuple):
    """The loss before a step, and the classes of its texts."""

    loss: float
    labels: list[int]


class Trainer:
    """Trains a step at a time, epoch after epoch, in float32."""

    def __init__(self, setting: Setting, network: nn.Module, optimizer: Any) -> None:
        self.setting, self.network, self.optimizer = setting, network, optimizer
        self.batches = self.make_batches()
        torch.manual_seed(setting.seed)

    def make_batches(self) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
        """Arguments of the network, and labels, without an end."""
        raise NotImplementedError

    def step(self) -> Step:
        """Train on the next batch, as the package's loop does."""
        inputs, labels = next(self.batches)
        smoothing = self.setting.recipe.label_smoothing
        loss = F.cross_entropy(self.network(*inputs), labels, label_smoothing=smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return Step(float(loss.detach()), labels.tolist())


def make_batches(setting: Setting) -> Iterator[tuple[Batch, Tensor]]:
    """The batches of the package, with their labels, without end."""
    random, recipe = np.random.default_rng(setting.seed), setting.recipe
    while True:
        for batch, labels, *_ in training_batches(
            setting.examples,
            recipe.batch_size,
            random=random,
            token_dropout=recipe.token_dropout,
            sentence_ends=setting.network.sentence_ends,
            has_cls=True,
        ):
            yield batch, labels


class Ours(Trainer):
    """The package's network and batches, with an optimiser of ``OPTIMIZERS``."""

    def __init__(self, setting: Setting, optimizer: str = "rows") -> None:
        network = setting.initial().train()
        network.embedding.sparse = optimizer == "rows"
        if optimizer == "rows":
            super().__init__(setting, network, Optimizers(network, setting.recipe, setting.n_steps))
        else:
            super().__init__(setting, network, DenseAdamW(network, setting))

    def make_batches(self) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
        """Batches of the package."""
        return (((batch,), labels) for batch, labels in make_batches(self.setting))


class PaddedReference(Trainer):
    """The padded network under dense AdamW."""

    def __init__(self, setting: Setting) -> None:
        shape = setting.network
        network = PaddedWaveNetwork(
            shape.n_rows, shape.n_classes, shape.width, shape.operation, shape.dropout
        )
        copy_weights(setting.initial(), network)
        self.texts = token_lists(setting.examples.features)
        super().__init__(setting, network, DenseAdamW(network, setting))

    def make_batches(self) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
        """The same texts as the package's batches, in the same order; [CLS] is never dropped."""
        random, dropout = np.random.default_rng(self.setting.seed), self.setting.recipe.token_dropout
        labels = torch.from_numpy(self.setting.examples.labels)
        while True:
            order = torch.from_numpy(random.permutation(len(labels)))
            for chosen in torch.split(order, self.setting.recipe.batch_size):
                texts = [self.texts[row] for row in chosen]
                if dropout > 0:
                    rests = [text[1:][torch.rand(len(text) - 1) >= dropout] for text in texts]
                    texts = [torch.cat([text[:1], rest]) for text, rest in zip(texts, rests, strict=True)]
                yield padded(texts), labels[chosen]


class DenseAdamW:
    """AdamW over all parameters with the recipe's rates and schedule; the embedding does not decay."""

    def __init__(self, network: WaveNetwork | PaddedWaveNetwork, setting: Setting) -> None:
        recipe, table = setting.recipe, network.embedding.weight
        dense = [parameter for parameter in network.parameters() if parameter is not table]
        rows = {"params": [table], "lr": recipe.embedding_lr, "weight_decay": 0.0}
        self.adamw = torch.optim.AdamW(
            [{"params": dense}, {**rows, "eps": recipe.embedding_epsilon}],
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.adamw, lambda step: rate_factor(step, setting.n_steps, recipe)
        )
        self.zero_grad = self.adamw.zero_grad

    def step(self) -> None:
        """Update all parameters, then set the rates of the next step."""
        self.adamw.step()
        self.schedule.step()


# ---- what is measured ----


def compare_losses(setting: Setting, steps: int) -> dict[str, Any]:
    """Losses of both from the same weights on the same batches, for each way of updating our rows."""
    reference = PaddedReference(setting)
    expected = [reference.step() for _ in range(steps)]
    document: dict[str, Any] = {"steps": steps, "padded": [step.loss for step in expected], "ours": {}}
    for optimizer, meaning in OPTIMIZERS.items():
        trainer = Ours(setting, optimizer)
        made = [trainer.step() for _ in range(steps)]
        if [step.labels for step in made] != [step.labels for step in expected]:
            raise AssertionError("the two did not train on the same batches")
        differences = [abs(own.loss - other.loss) for own, other in zip(made, expected, strict=True)]
        document["ours"][optimizer] = {
            "meaning": meaning,
            "losses": [step.loss for step in made],
            "largest_difference": max(differences),
            "at_step": differences.index(max(differences)) + 1,
        }
    return document


def compare_speed(setting: Setting, steps: int, runs: int) -> dict[str, Any]:
    """Texts a second of both, in turns of so many steps, in one order and then in the other."""
    trainers: dict[str, Trainer] = {"ours": Ours(setting), "padded": PaddedReference(setting)}
    steps = min(steps, MAX_STEPS_OF_A_TURN)
    for trainer in trainers.values():
        for _ in range(min(steps, MAX_WARM_UP)):
            trainer.step()
    speeds: dict[str, list[float]] = {name: [] for name in trainers}
    for run in range(runs):
        for name in list(trainers)[:: 1 if run % 2 == 0 else -1]:
            speeds[name].append(statistics.median(_texts_per_second(trainers[name]) for _ in range(steps)))
    document = _describe_speeds(speeds, setting)
    ratios = [own / other for own, other in zip(speeds["ours"], speeds["padded"], strict=True)]
    document["ours"]["ratio_to_padded"] = spread(ratios)
    return document


def _texts_per_second(trainer: Trainer) -> float:
    start = time.perf_counter()
    step = trainer.step()
    return len(step.labels) / (time.perf_counter() - start)


def measure_preset(setting: Setting, steps: int, runs: int) -> dict[str, Any]:
    """Texts a second of preset ``paper`` in the package's own loop and precision."""
    n_texts = min(steps * setting.recipe.batch_size, len(setting.examples))
    speeds = {"ours": [n_texts / _epoch_seconds(setting, steps) for _ in range(runs)]}
    return {"precision": setting.recipe.precision, **_describe_speeds(speeds, setting)}


def _epoch_seconds(setting: Setting, steps: int) -> float:
    """Wall time of so many steps of the package's own trainer, after an uncounted pass over a few texts."""
    network = setting.initial()
    for n_steps in (2, steps):
        rows = np.arange(min(n_steps * setting.recipe.batch_size, len(setting.examples)))
        examples = setting.examples.take(rows)
        trainer = TorchTrainer(network, examples, setting.recipe, setting.seed, has_cls=True)
        start = time.perf_counter()
        trainer.epoch(CallbackList([]))
        seconds = time.perf_counter() - start
        trainer.close()
    return seconds


def _describe_speeds(speeds: dict[str, list[float]], setting: Setting) -> dict[str, Any]:
    document: dict[str, Any] = {
        "token_dropout": setting.recipe.token_dropout,
        "dropout": setting.network.dropout,
        "extrapolation": f"No epoch of {OFFICIAL_ROWS:,} texts was run here. Its seconds are extrapolated: "
        f"{OFFICIAL_ROWS:,} over the median of the texts a second, tokenisation and validation left out.",
    }
    for name, turns in speeds.items():
        seconds = OFFICIAL_ROWS / statistics.median(turns)
        document[name] = {"texts_per_second": spread(turns), "turns": turns}
        document[name]["extrapolated_epoch_seconds"] = seconds
    return document


def memory_of_both(arguments: Sequence[str] | None, steps: int) -> dict[str, Any]:
    """Peak of memory of a fresh process that trains one of them for some steps."""
    document: dict[str, Any] = {"steps": min(steps, STEPS_FOR_MEMORY)}
    words = sys.argv[1:] if arguments is None else arguments
    for name in ("ours", "padded"):
        command = [sys.executable, __file__, *words, "--steps", str(document["steps"]), "--memory-of", name]
        document[name] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    return document


def measure_memory(setting: Setting, name: str, steps: int) -> dict[str, Any]:
    """Bytes held before one of them trains in this process, and at the peak."""
    loaded, plain = resident_memory(), setting.without_dropout()
    trainer: Trainer = Ours(plain) if name == "ours" else PaddedReference(plain)
    for _ in range(steps):
        trainer.step()
    return {"data_loaded_bytes": loaded, "peak_bytes": peak_memory()}


def _describe(section: str, document: dict[str, Any]) -> str:
    sides = [name for name in ("ours", "padded") if name in document]
    if section == "losses":
        ours = document["ours"].items()
        return ", ".join(f"{name} {losses['largest_difference']:.1e} apart at most" for name, losses in ours)
    if section == "memory":
        return ", ".join(f"{name} {size(document[name]['peak_bytes'])}" for name in sides)
    speeds = []
    for name in sides:
        side = document[name]
        ratio = side.get("ratio_to_padded")
        speeds.append(
            f"{name} {side['texts_per_second']['median']:.0f} texts/s, an epoch of {OFFICIAL_ROWS:,} by "
            f"extrapolation {duration(side['extrapolated_epoch_seconds'])}"
            + ("" if ratio is None else f", {ratio['median']:.2f} times padded")
        )
    return "; ".join(speeds)


if __name__ == "__main__":
    try:
        main()
    except Token2WaveError as error:
        sys.exit(f"error: {error}")
