"""Several wave layers (eq. 8): accuracy against depth, with the norm inside each layer and without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from paper.result_store import NotFinishedError, Result, ResultStore
from paper.statistics import pack_answers
from paper.studies.depth_claims import judge
from paper.studies.depth_comparisons import (
    COMPARED_DEPTH,
    DROPOUT,
    NO_LOSS,
    NORMED,
    Shape,
    differences,
    uses_of_lower_layers,
)
from paper.study import Document, Drawing, Options, Study, StudyData, Table, describe_training
from paper.study_figures import line_with_band, new_figure, styled
from paper.systems import train_and_answer
from paper.verdicts import judge_above, judge_lead
from token2wave.features import Ragged
from token2wave.formatting import NOTHING
from token2wave.models import WaveNetwork

OPERATIONS = ("modulation", "interference")
DEPTHS, WIDTHS = (1, 2, 4, 8), (128, 64, 256)
PRESET_DROPOUT = 0.5  # of states, as DROPOUT is
NORMS = {"real": "after the return to reals", "wave": "before it", "none": "before the head alone"}
TRAIN_ROWS, EPOCHS = 10_000, 3
QUICK_ROWS, QUICK_TEST_ROWS, QUICK_EPOCHS, QUICK_WIDTH = 600, 300, 2, 32


def make_shapes(quick: bool = False) -> list[Shape]:
    """All networks, in the order in which they are trained: what tells most, first."""
    if quick:
        return [Shape(operation, layers, QUICK_WIDTH) for layers in (1, 2) for operation in OPERATIONS]
    main, shapes = WIDTHS[0], []
    for layers in (1, 4, 2):
        shapes += [Shape(operation, layers, main) for operation in OPERATIONS]
    for norm in ("none", "wave"):
        shapes += [Shape(operation, COMPARED_DEPTH, main, norm) for operation in OPERATIONS]
    shapes += [Shape(operation, COMPARED_DEPTH, main, dropout=PRESET_DROPOUT) for operation in OPERATIONS]
    for width in WIDTHS:
        shapes += [Shape(operation, 1, width, dropout=PRESET_DROPOUT) for operation in OPERATIONS]
        shapes += [Shape(operation, layers, width) for layers in DEPTHS for operation in OPERATIONS]
    return list(dict.fromkeys(shapes))


def measure(store: ResultStore, options: Options) -> Document:
    """Train every network with each seed.

    Returns:
        Settings; ``networks``, each with ``runs`` (one a seed), among them ``right``, the answers to the test
        texts (:func:`paper.statistics.pack_answers`); ``unfinished``, networks that lack some run.
    """
    quick = options.quick
    seeds = options.seeds[:2] if quick else options.seeds
    epochs = QUICK_EPOCHS if quick else EPOCHS
    data = options.load(*((QUICK_ROWS, QUICK_TEST_ROWS) if quick else (TRAIN_ROWS, None)))
    networks, unfinished = [], []
    for shape in make_shapes(quick):
        try:
            runs = [{"seed": seed, **_train(store, data, shape, epochs, seed)} for seed in seeds]
            networks.append({**vars(shape), "key": shape.key, "runs": runs})
        except NotFinishedError:
            unfinished.append(shape.key)
    if not networks:
        raise NotFinishedError("depth")
    return {
        "data": data.name,
        "rows": data.settings["rows"],
        "caveats": list(data.texts.caveats),
        "epochs": epochs,
        "seeds": list(seeds),
        "networks": networks,
        "unfinished": unfinished,
    }


def _train(store: ResultStore, data: StudyData, shape: Shape, epochs: int, seed: int) -> Result:
    """Train a network, and test the weights of its best epoch by validation.

    With several layers, ``right_of_last_layer`` says what it answers without those below the last.
    """
    system = shape.system(epochs)

    def compute() -> Result:
        network = cast("WaveNetwork", system.build(data, seed, store.device))
        result = train_and_answer(store, lambda: network, system.recipe, data, seed)
        if shape.layers > 1:
            answers = logits_of_last_layer(network, data.test.features).argmax(axis=1)
            right = answers == data.test.labels
            result["right_of_last_layer"] = pack_answers(right)
        return result

    settings = {"system": system.settings(), "data": data.settings, "seed": seed}
    if shape.layers > 1:
        settings["last_layer_alone"] = True  # results of older code do not have it
    stage = f"depth: {shape.operation}, {shape.layers} layers of {shape.width}, seed {seed}"
    return store.compute(f"depth/{data.name}/{shape.key}-{seed}", settings, compute, stage)


def logits_of_last_layer(network: WaveNetwork, texts: Ragged) -> NDArray[np.float32]:
    """Logits ``(N, C)`` of a network without the layers below the last, which tokens pass unchanged."""
    layers, network.layers = network.layers, network.layers[-1:]
    try:
        return network.logits(texts)
    finally:
        network.layers = layers


def accuracies(network: Mapping[str, Any]) -> list[float]:
    """Test accuracy of each seed in per cent."""
    return [100 * run["test_accuracy"] for run in network["runs"]]


def tables(document: Document) -> list[Table]:
    """Accuracy of every network, its difference to one layer, and what its lower layers bring."""
    compared, uses = differences(document), uses_of_lower_layers(document)
    rows = []
    for network in sorted(document["networks"], key=_order):
        values = accuracies(network)
        names = [str(network["width"]), network["operation"], str(network["layers"])]
        names.append(f"{network['dropout']:g}")
        norm = NORMS[network["layer_norm"]] if network["layers"] > 1 else NOTHING
        cells = [f"{np.mean(values):.2f}", f"{min(values):.2f}"]
        if (difference := compared.get(network["key"])) is None:
            cells += [NOTHING] * 4
        else:
            cells += [str(difference), f"{difference.mcnemar:.3f}"]
            cells += [judge_lead(difference), judge_above(difference, -NO_LOSS)]
        rows.append([*names, norm, *cells, str(uses.get(network["key"], NOTHING))])
    head = [
        "width",
        "operation",
        "layers",
        "dropout",
        "norm in layers",
        "test accuracy (%)",
        "lowest seed (%)",
    ]
    head += ["difference to one layer", "McNemar's p", "better than one layer", "no loss of a point"]
    head += ["lead over its last layer alone"]
    caption = (
        f"{describe_training(document)} Differences are to one layer with the dropout that is better on "
        "validation rows, paired over seeds and test texts; intervals of 95 % for all of the table together; "
        "McNemar's p is the median over seeds. The last column compares each network with itself without the "
        "layers below the last."
    )
    if document["unfinished"]:
        caption += f" Not finished: {', '.join(document['unfinished'])}."
    return [Table(caption, head, rows, n_names=5)]


def _order(network: Mapping[str, Any]) -> tuple[Any, ...]:
    norm = list(NORMS).index(network["layer_norm"])
    operation = OPERATIONS.index(network["operation"])
    return network["width"], operation, network["dropout"], network["layers"], norm


def drawings(document: Document) -> dict[str, Drawing]:
    """Test accuracy against depth, a panel a width."""
    normed = [n for n in document["networks"] if (n["layer_norm"], n["dropout"]) == (NORMED, DROPOUT)]
    depths_of: dict[int, set[int]] = {}
    for network in normed:
        depths_of.setdefault(network["width"], set()).add(network["layers"])
    widths = sorted(width for width, depths in depths_of.items() if len(depths) > 1) or sorted(depths_of)
    with styled():
        figure, panels = new_figure(len(widths), width=3.2, sharey=True)
        for axes, width in zip(panels, widths, strict=True):
            for series, operation in enumerate(OPERATIONS):
                line = sorted(
                    (each for each in normed if (each["width"], each["operation"]) == (width, operation)),
                    key=lambda network: int(network["layers"]),
                )
                depths = [network["layers"] for network in line]
                runs = np.array([accuracies(network) for network in line]).T
                line_with_band(axes, depths, list(runs), operation, series)
            depths = sorted({network["layers"] for network in normed if network["width"] == width})
            axes.set_xscale("log", base=2)
            axes.set_xticks(depths, [str(depth) for depth in depths], minor=False)
            axes.set(xlabel="layers", title=f"width {width}")
        panels[0].set_ylabel("test accuracy (%)")
        panels[0].legend()
    caption = (
        "Test accuracy against the number of layers, with a norm of each layer's restored state and dropout "
        f"{DROPOUT:g}. "
        f"{describe_training(document)} Lines are means over seeds, bands span the lowest to the highest."
    )
    return {"depth": Drawing(figure, caption)}


STUDY = Study(
    "depth",
    "Depth",
    "Do several wave layers (eq. 8) train, and do they help? The papers give the equation and report no "
    "result. Their pipeline has a norm after each feed-forward map, so each layer's restored state is normed "
    "before it joins the residual sum. The norm before the return to real numbers, over real and imaginary "
    f"parts together, and no norm inside layers are measured at {COMPARED_DEPTH} layers. Only the last layer "
    "is read out at [CLS]. The gains of the norms below it begin at zero, so a deep network begins as one "
    f"layer. Dropout of states is {DROPOUT:g} at every depth: with the preset's {PRESET_DROPOUT:g}, which "
    "suits one layer and acts in each, four layers learn too slowly. One layer is measured with both, and "
    "several layers are compared with the one of higher validation accuracy. These choices were made on "
    "validation rows of interference and modulation at four layers, seeds 0 and 1. Recipe, rows, order of "
    "texts and seeds are the same for all. Test rows choose nothing.",
    measure,
    tables,
    drawings,
    judge,
)
