"""Whether dimensions of the [CLS] embedding are independent (arXiv 2411.06989), and whether it matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from paper.decorrelation import decorrelate
from paper.eigenvalue_spread import BATCH, MEASURES, PLACES, RATIOS, Spreads, measure_batches, text_states
from paper.result_store import NotFinishedError, Result, ResultStore
from paper.statistics import pack_answers
from paper.studies.independence_claims import judge
from paper.studies.independence_figures import drawings
from paper.studies.independence_tables import tables
from paper.study import Document, Options, Study, StudyData
from paper.systems import System, available, probe_training, train_and_answer, transformer_system, wave_system
from token2wave.models import TextNetwork
from token2wave.models.encoder_sources import MINILM

OPERATIONS = ("modulation", "interference")
OTHER_DATA = ("sst2", "trec", "emotion")
WIDTH, WIDTHS = 128, (64, 128, 256, 512, 768)
TRAIN_ROWS, EPOCHS = 10_000, 3
LONGER_EPOCHS = {"sst2": 8, "trec": 8, "emotion": 8}
"""Of data sets whose accuracy still rises fast after three, since their texts are short. On validation rows
of emotion, a weight of 1 brought four points after three epochs and none after eight: learning was faster."""
PROBED_TEXTS = 1_600  # the same of a set for all networks: 50 batches
STEPS, STEP = (0, 50, 200, 500, 1_000, 2_000, 5_000), 50
TRANSFORMER_STEPS, PRETRAINED_STEPS = 1_000, 500  # each takes two and seven times as long as a wave's
LAST_STEP = {"transformer-random": TRANSFORMER_STEPS, "transformer-pretrained": PRETRAINED_STEPS}
WEIGHTS = (0.0, 0.3, 1.0)
"""Of the penalty. On validation rows, with a seed of its own, 0.3 multiplied the effective rank by 1.3 or
more on every data set, and 1 by 1.7 or more; with 3, and on others with 10, some networks did not learn."""


class Shape(NamedTuple):
    """A Wave network that is trained with a penalty of some weight."""

    operation: str
    width: int = WIDTH
    weight: float = 0.0

    @property
    def key(self) -> str:
        """Short name in files, e.g. ``modulation-128-10``."""
        return f"{self.operation}-{self.width}-{self.weight:g}"


class Scale(NamedTuple):
    """How much is measured; the same for all networks."""

    width: int
    widths: Sequence[int]
    steps: Sequence[int]
    interval: int
    epochs: int


FULL = Scale(WIDTH, WIDTHS, STEPS, STEP, EPOCHS)
QUICK = Scale(16, (8, 16), (0, 5, 10), 5, 1)


def compared_systems(width: int) -> list[System]:
    """Wave networks, a Transformer of the same width and random start, and one with MiniLM's embeddings.

    All train without regularisation, at a constant rate, so that the measures after a step do not
    depend on how many follow; and no dropout, which would set the networks apart.
    """
    title = f"Transformer, 1 layer of width {width}, random embeddings"
    # The wave's initial embeddings have this deviation, too.
    shape = {"width": width, "heads": max(2, width // 64), "feed_forward": 4 * width, "embedding_scale": 0.1}
    equal = replace(transformer_system(None, unregularised=True, **shape), title=title)
    pretrained = transformer_system(MINILM, unregularised=True)
    pretrained = replace(pretrained, title="Transformer, 1 layer of width 384, MiniLM's embeddings")
    systems = [
        *(wave_system(each, unregularised=True, width=width) for each in OPERATIONS),
        equal,
        pretrained,
    ]
    return [replace(each, recipe=each.recipe.replace(batch_size=BATCH)) for each in systems]


def measure(store: ResultStore, options: Options) -> Document:
    """Measure the course of training, the effect of the penalty, and widths, with each seed.

    Returns:
        Settings; ``courses``, of each data set and system; ``penalised``, of each data set, operation and
        weight, with the answers to the test texts (:func:`paper.statistics.pack_answers`); ``widths``, of
        each network of the first data set without penalty; ``unfinished``, networks that lack some run.
    """
    scale = QUICK if options.quick else FULL
    seeds = options.seeds[:2] if options.quick else options.seeds
    others = [name for name in OTHER_DATA if name != options.data]
    sets, reasons = options.load_several(others, *((600, 320) if options.quick else (TRAIN_ROWS, None)))
    systems, left_out = available(compared_systems(scale.width))
    unfinished: list[str] = []

    def train_all(name: str, train: Callable[[int], Result]) -> list[Result]:
        """Results of all seeds; none if one is missing."""
        try:
            return [{"seed": seed, **train(seed)} for seed in seeds]
        except NotFinishedError:
            unfinished.append(name)
            return []

    penalised, widths, courses = [], [], []
    for data in sets:
        for shape in (Shape(each, scale.width, weight) for weight in WEIGHTS for each in OPERATIONS):
            train = partial(train_penalised, store, data, shape, scale)
            if runs := train_all(f"{data.name}, {shape.key}", train):
                penalised.append({"data": data.name, **shape._asdict(), "runs": list(map(_shorten, runs))})
    for shape in (Shape(each, width) for width in scale.widths for each in OPERATIONS):
        train = partial(train_penalised, store, sets[0], shape, scale)
        for run in train_all(f"{sets[0].name}, {shape.key}", train):
            row = {"operation": shape.operation, "width": shape.width, "seed": run["seed"]}
            widths.append({**row, "test_accuracy": run["test_accuracy"], **run["after"]})
    for data in sets:
        for system in systems:
            runs = train_all(f"{data.name}, {system.key}", partial(follow, store, data, system, scale))
            if runs:
                pooled = _pool([run.pop("deviations") for run in runs])
                densities = [run.pop("density") for run in runs]
                course: Document = {"data": data.name, "system": system.key, "title": system.title}
                course |= {"steps": steps_of(system, scale), "deviations": pooled, "runs": runs}
                courses.append(course | ({"densities": densities} if data is sets[0] else {}))
    if not penalised + widths + courses:
        raise NotFinishedError("independence")
    return {
        "data": sets[0].name,
        "sets": {
            data.name: {**data.settings["rows"], "epochs": epochs_of(data.name, scale)} for data in sets
        },
        "caveats": [*(text for data in sets for text in data.texts.caveats), *reasons, *left_out],
        "seeds": list(seeds),
        "width": scale.width,
        "courses": courses,
        "penalised": penalised,
        "widths": widths,
        "unfinished": list(dict.fromkeys(unfinished)),
    }


def _shorten(run: Result) -> Result:
    """What tables show of a network with a penalty."""
    names = ("seed", "test_accuracy", "right", "after")
    return {**{name: run[name] for name in names}, "rank_before": run["before"]["effective_rank"]}


def steps_of(system: System, scale: Scale) -> list[int]:
    """Steps after which a system is measured."""
    last = LAST_STEP.get(system.key, scale.steps[-1])
    return [step for step in scale.steps if step <= last]


def epochs_of(data: str, scale: Scale) -> int:
    """Epochs of the networks with a penalty, and without one, on a data set."""
    return max(scale.epochs, LONGER_EPOCHS.get(data, 0))


def _probed(data: StudyData) -> Any:
    order = np.random.default_rng(0).permutation(len(data.test))
    return data.test.features.take(order[:PROBED_TEXTS])


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def train_penalised(store: ResultStore, data: StudyData, shape: Shape, scale: Scale, seed: int) -> Result:
    """Train a Wave network with the penalty, and measure the weights of its best epoch by validation.

    The penalty changes neither the initial weights nor the order of texts nor what dropout drops.
    """
    system = wave_system(shape.operation, width=shape.width)
    system = replace(system, recipe=system.recipe.replace(epochs=epochs_of(data.name, scale)))

    def compute() -> Result:
        network = system.build(data, seed, store.device)
        decorrelate(network, shape.weight)  # type: ignore[arg-type]
        result = train_and_answer(store, lambda: network, system.recipe, data, seed)
        for place, states in text_states(network, _probed(data)).items():
            spreads = measure_batches(states)
            result[place] = {name: _round(float(np.mean(values))) for name, values in spreads.items()}
        names = ("test_accuracy", "validation_accuracy", "best_epoch", "right", *PLACES)
        return {name: result[name] for name in names}

    settings = {"system": system.settings(), "data": data.settings, "seed": seed, "weight": shape.weight}
    settings |= {"probed_texts": PROBED_TEXTS}
    name = f"independence/{data.name}/penalty-{shape.key}-{seed}"
    return store.compute(name, settings, compute, f"independence: {data.name}, {shape.key}, seed {seed}")


def follow(store: ResultStore, data: StudyData, system: System, scale: Scale, seed: int) -> Result:
    """Measure a system as it trains, and what it answers after the last step.

    Returns:
        ``before`` and ``after``, each of :data:`MEASURES` at each step, the mean over batches; ``deviations``
        over batches, likewise; ``density``, both ratios of every batch after the last step, behind the norm;
        ``test_accuracy``.
    """
    steps = steps_of(system, scale)

    def compute() -> Result:
        encoded = system.encode(data)
        probed = _probed(encoded)

        def probe(network: TextNetwork, step: int) -> Any:
            if step not in steps:
                return None
            spreads = {place: measure_batches(each) for place, each in text_states(network, probed).items()}
            if step < steps[-1]:
                return spreads, None
            return spreads, network.logits(encoded.test.features).argmax(axis=1) == encoded.test.labels

        probes = probe_training(store, system, encoded, seed, steps[-1], scale.interval, probe)
        spreads, answers = zip(*(each for each in probes if each is not None), strict=True)
        result: Result = {place: _over_steps(spreads, place, np.mean) for place in PLACES}
        result["deviations"] = {place: _over_steps(spreads, place, np.std) for place in PLACES}
        result["density"] = {name: [_round(value) for value in spreads[-1]["after"][name]] for name in RATIOS}
        result |= {"test_accuracy": float(answers[-1].mean()), "right": pack_answers(answers[-1])}
        return result

    settings = {**system.settings(), "data": data.settings, "seed": seed, "steps": steps}
    settings |= {"probed_texts": PROBED_TEXTS}
    name = f"independence/{data.name}/course-{system.key}-{seed}"
    stage = f"independence: {data.name}, {system.title}, seed {seed}"
    result = store.compute(name, settings, compute, stage)
    return {key: value for key, value in result.items() if key != "right"}  # the document judges no accuracy


def _over_steps(
    spreads: Sequence[Mapping[str, Spreads]], place: str, summary: Callable[[list[float]], Any]
) -> dict[str, list[float]]:
    return {name: [_round(summary(spread[place][name])) for spread in spreads] for name in MEASURES}


def _pool(deviations: Sequence[Mapping[str, Mapping[str, list[float]]]]) -> dict[str, dict[str, list[float]]]:
    """Root mean square over seeds of the deviations over batches."""
    return {
        place: {
            name: [
                _round(value)
                for value in np.sqrt(np.square([each[place][name] for each in deviations]).mean(0))
            ]
            for name in MEASURES
        }
        for place in PLACES
    }


STUDY = Study(
    "independence",
    "Independence of dimensions",
    "The second paper compares networks by a ratio of the eigenvalues of the covariance of [CLS] "
    "embeddings in batches of 32, and does not define the ratio. Two candidates are shown: the largest "
    "eigenvalue over the sum, which is small where dimensions are independent, and the smallest over the "
    "largest, which is large there. 32 texts span 31 dimensions, so the smallest eigenvalue over all "
    "dimensions is zero for every network; among the 31 it is not. The effective rank is a third measure. "
    "Nor does the paper say where it takes the embedding: all are measured before the norm in front of the "
    "classifier and after it. Networks are followed over training in batches of 32 at a constant rate, "
    "without dropout and weight decay. One Transformer starts equal to the Wave network, from random "
    "embeddings of its width and size. The other has the embeddings of MiniLM and its "
    f"width, 384, and a difference to it may come from either. They take {TRANSFORMER_STEPS:,} and "
    f"{PRETRAINED_STEPS:,} steps, for their cost, and are compared with the Wave network after as many. "
    "Whether independence brings accuracy cannot be read off networks that differ in other things, so a "
    "second experiment intervenes: the loss gets a weight times the mean squared correlation of two "
    "dimensions of the batch's states (after Cogswell et al. 2015 and Bardes et al. 2021), with the paper "
    "preset's recipe. Start, order of texts, dropout and seeds are the same with every weight. The weights "
    "were chosen on validation rows, with a seed that the study does not use: both raise the effective "
    "rank on every data set, and all networks still learn. The penalty may act in other ways than by "
    "independence: it competes with the loss, which costs accuracy, and it may change how fast a network "
    "learns. On validation rows of emotion it brought four points after three epochs and none after eight, "
    "so the data sets of short texts get eight, and a claim is about networks that have learnt. Correlations "
    "over widths stand beside it. Test rows choose nothing.",
    measure,
    tables,
    drawings,
    judge,
)
