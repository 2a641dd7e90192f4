r"""Try other waves, and other ways of training them, on rows held back from training; no test set is read.

    python benchmarks/wave_trials.py --name wave-trials --data trec,banking77,emotion,dbpedia14 --seeds 0,1,2
    python benchmarks/wave_trials.py --name wave-trials-whole --held whole --data sst2 --seeds 0

Everything is in torch: preset ``small`` as it adapts to the data, its waves changed by one variant, trained
as they are by ``token2wave train``, but without the last fit on all rows. The amplitudes are the same for all
variants. The validation rows, which training holds back for itself, choose the epoch and weigh the levels;
rows that none of this has seen judge. Writes ``results/sweeps/NAME.json``, and goes on where a run stopped;
``tools/render_results.py`` makes tables of ``docs/experiments.md`` from it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from sweep import FRACTION, HELD, RESULTS, held_out
from wave_trials_networks import (
    Adversarial,
    BothInPhrases,
    Exponential,
    Largest,
    LastEpochs,
    MeanAndLargest,
    Superposed,
    Turned,
    TwoLayers,
    TwoPasses,
    Windows,
    both_in_text,
    context,
    skip_in_text,
)
from wave_trials_render import BASELINE, NATIVE
from wave_trials_unseen import UnseenWords

from token2wave.core import n_threads
from token2wave.data import TextDataset, encode_labels
from token2wave.features import WordFeatures
from token2wave.models import WaveNetwork
from token2wave.training import torch_trainer
from token2wave.training.additive_network import AdditiveNetwork
from token2wave.training.auto_settings import auto_settings
from token2wave.training.calibration import branch_logits, fit_weights
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import CHAR_NGRAM_WEIGHTS, LinearSVM, LinearSVMWeights
from token2wave.training.loop import fit
from token2wave.training.preparation import features_for, prepare
from token2wave.training.presets import preset_named
from token2wave.training.result import machine
from token2wave.training.torch_trainer import TorchTrainer
from token2wave.training.validation import cross_entropies
from token2wave.versions import versions

SEEDS_APART = 100  # between the members of an ensemble
Numbers = NDArray[np.float64]


def unchanged(network: WaveNetwork) -> None:
    """Leave a network as it is."""


@dataclass(frozen=True)
class Variant:
    """One thing that is tried.

    Attributes:
        change: of the network, before it is trained.
        trainer: what trains it.
        times_as_wide: width of the text's waves and of the phrases', in those of the preset.
        members: networks of other seeds whose logits are averaged.
        native: whether the native core trains it; for networks that it knows, whose steps are the same.
        unseen: whether words that are no row take their character n-grams' amplitudes.
        share: of the character n-grams; chosen by the validation rows, if None.
    """

    change: Callable[[WaveNetwork], None] = unchanged
    trainer: type[TorchTrainer] = TorchTrainer
    times_as_wide: int = 1
    members: int = 1
    native: bool = False
    unseen: bool = False
    share: float | None = None


VARIANTS = {
    BASELINE: Variant(),
    "places as phases, half of the dimensions": Variant(context(Turned)),
    "neighbours superposed with phases": Variant(context(Superposed)),
    "two phrase layers": Variant(context(TwoLayers)),
    "windows of 1, 3 and 8": Variant(context(Windows)),
    "both operations, phrases": Variant(context(BothInPhrases)),
    "both operations, text": Variant(both_in_text),
    "real part past the linear map, text": Variant(skip_in_text),
    "largest state of the phrases": Variant(context(Largest)),
    "mean and largest state of the phrases": Variant(context(MeanAndLargest)),
    "adversarial perturbation of rows": Variant(trainer=Adversarial),
    "two passes that agree (R-drop)": Variant(trainer=TwoPasses),
    "mean weights of three epochs": Variant(trainer=LastEpochs),
    "exponential average of weights": Variant(trainer=Exponential),
    NATIVE: Variant(native=True),
    "unseen words by their n-grams": Variant(native=True, unseen=True),
    "no n-grams": Variant(native=True, share=0.0),
    "n-grams in full": Variant(native=True, share=1.0),
    "n-grams in full, unseen words by theirs": Variant(native=True, unseen=True, share=1.0),
    "ensemble of three": Variant(native=True, members=3),
    "three times as wide": Variant(native=True, times_as_wide=3),
}


class Case:
    """One data set and seed: all that the variants share.

    Args:
        splits: rows to learn from, and, in the test set's place, rows to judge by.
        seed: of the rows held back for validation, of initial weights, order of texts and dropout.
        settings: of the preset, by full name.
    """

    def __init__(self, splits: TextDataset, seed: int, settings: dict[str, Any] | None = None) -> None:
        preset = preset_named("small").with_settings(settings or {})
        preset = auto_settings(preset, splits.train.texts, settings or {})
        texts = prepare(splits, preset.recipe, seed)
        assert splits.test is not None
        judged_by = Examples.of_texts(splits.test.texts, encode_labels(splits.test, texts.label_names))
        self.seed, self.recipe = seed, preset.recipe.replace(precision="float32")
        self.texts = {"train": texts.train, "validation": texts.validation, "held": judged_by}
        self.features, found = features_for(texts.train.texts, preset, None, splits.train.source)
        self.config = preset.network_config(self.features.n_rows, len(texts.label_names), ())
        self.config = self.config.replace(linear_svm=False)
        self.examples = {"train": replace(texts.train, features=found)}
        for part in ("validation", "held"):
            self.examples[part] = self.texts[part].encode(self.features)
        self.levels = cache(self._levels)
        self.linear_svm = cache(self._linear_svm)
        self.solve = cache(self._solve)

    def train(self, variant: Variant, seed: int) -> WaveNetwork | AdditiveNetwork:
        """Train the waves of a variant."""
        wide, width, context_width = variant.times_as_wide, self.config.width, self.config.context_width
        config = self.config.replace(width=wide * width, context_width=wide * context_width)
        network: WaveNetwork | AdditiveNetwork
        if variant.native:
            network = AdditiveNetwork.initial(config, seed)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                network = WaveNetwork(config)
                variant.change(network)
        with mock.patch.object(torch_trainer, "TorchTrainer", variant.trainer):
            parts = self.examples["train"], self.examples["validation"]
            fit(network, *parts, self.recipe, seed=seed, has_cls=False)
        return network

    def _levels(self, variant: Variant, seed: int) -> dict[str, Numbers]:
        """What each level of the waves says of each part, ``(L, N, C)``."""
        network = self.train(variant, seed)
        return {part: branch_logits(network, self.examples[part].features) for part in ("validation", "held")}

    @cached_property
    def problem(self) -> tuple[LinearSVM, UnseenWords]:
        """That of the amplitudes."""
        assert isinstance(self.features, WordFeatures)
        texts = self.texts["train"].texts
        spelled, n_classes = self.recipe.char_ngrams, self.config.n_classes
        problem = LinearSVM(self.examples["train"], self.features, n_classes, self.seed, char_ngrams=spelled)
        return problem, UnseenWords(problem, texts, self.features)

    def _linear_svm(self, share: float, unseen: bool) -> dict[str, Numbers]:
        """What amplitudes say of each part, ``(1, N, C)``, with a share of the character n-grams."""
        _, words = self.problem
        found, parts = self.solve(share), ("validation", "held")
        if not unseen:
            return {part: found.logits(self.examples[part].features)[None] for part in parts}
        return {
            part: words.logits(found, self.examples[part].features, self.texts[part].texts)[None]
            for part in parts
        }

    def _solve(self, share: float) -> LinearSVMWeights:
        """Find the amplitudes with a share of the character n-grams."""
        return self.problem[0].solve(share)

    def evaluate_candidate(self, variant: Variant) -> dict[str, dict[str, float]]:
        """Accuracy and cross-entropy of the rows that judge: the waves alone, and with amplitudes."""
        seeds = [self.seed + SEEDS_APART * member for member in range(variant.members)]
        plain = replace(variant, members=1, unseen=False, share=None)  # what is trained
        members = [self.levels(plain, seed) for seed in seeds]
        waves = {part: np.mean([m[part] for m in members], axis=0) for part in members[0]}
        found = {"waves": self._weighed(waves), "linear_svm": (np.inf, 0.0, 0.0), "all": (np.inf, 0.0, 0.0)}
        shares = CHAR_NGRAM_WEIGHTS if self.problem[0].char_ngrams.n_grams else (0.0,)
        for share in shares if variant.share is None else (variant.share,):
            linear_svm = self.linear_svm(share, variant.unseen and bool(share))
            every = {part: np.concatenate([waves[part], linear_svm[part]]) for part in waves}
            weighed = self._weighed(every)
            if weighed[0] >= found["all"][0]:
                break  # as training chooses the share
            found["all"], found["linear_svm"] = weighed, self._weighed(linear_svm)
        return {name: {"accuracy": row[1], "loss": row[2]} for name, row in found.items()}

    def _weighed(self, levels: dict[str, Numbers]) -> tuple[float, float, float]:
        """Weigh levels: cross-entropy of the validation rows; accuracy and cross-entropy of those held."""
        weights = fit_weights(levels["validation"], self.examples["validation"].labels)
        logits = {part: np.tensordot(weights, values, axes=1) for part, values in levels.items()}
        losses = {
            part: float(cross_entropies(values, self.examples[part]).mean())
            for part, values in logits.items()
        }
        right = logits["held"].argmax(axis=1) == self.examples["held"].labels
        return losses["validation"], float(right.mean()), losses["held"]


def main() -> None:
    """Run the variants on the data that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True)
    parser.add_argument("--data", required=True, help="names, apart by commas")
    parser.add_argument("--seeds", default="0", help="numbers, apart by commas")
    parser.add_argument("--held", choices=list(HELD), default="random", help="as for benchmarks/sweep.py")
    parser.add_argument("variants", nargs="*", default=list(VARIANTS), help="names of VARIANTS; all, if none")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    path = RESULTS / f"{arguments.name}.json"
    document: dict[str, Any] = {"rows": {}}
    if path.is_file():
        document = json.loads(path.read_text(encoding="utf-8"))
    rows = document["rows"]
    document |= {
        "name": arguments.name,
        "preset": "small",
        "measure": f"{FRACTION:.0%} of the training rows held back{HELD[arguments.held]}",
        "versions": versions(),
        "machine": machine(n_threads(), "cpu"),
    }
    data = {name: held_out(name, arguments.held) for name in arguments.data.split(",")}
    for seed in seeds:
        for name, splits in data.items():
            missing = [
                variant
                for variant in arguments.variants
                if str(seed) not in rows.get(variant, {}).get(name, {})
            ]
            case = Case(splits, seed) if missing else None
            for variant in missing:
                assert case is not None
                start = time.perf_counter()
                found = case.evaluate_candidate(VARIANTS[variant])
                rows.setdefault(variant, {}).setdefault(name, {})[str(seed)] = found
                path.parent.mkdir(parents=True, exist_ok=True)
                document["rows"] = rows = {name: rows[name] for name in VARIANTS if name in rows}
                path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
                figures = " ".join(f"{key} {100 * row['accuracy']:.2f}" for key, row in found.items())
                print(f"{name} {seed} {variant}: {figures} ({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
